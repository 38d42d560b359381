package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// --explain: what a command made a process do, a system call a line, with its result
// and how long it took. It goes to standard error: standard output is the container's.

// An explanation is the value of --explain, which may go without: text or json.
type explanation struct{ format string }

func (e *explanation) String() string   { return e.format }
func (e *explanation) IsBoolFlag() bool { return true } // package flag asks: --explain is --explain=true

func (e *explanation) Set(text string) error {
	switch text {
	case "true", "text":
		e.format = "text"
	case "json":
		e.format = text
	case "false":
		e.format = ""
	default:
		return errors.New("want text or json")
	}
	return nil
}

func explainFlag() cli.Flag {
	return &cli.GenericFlag{Name: "explain", Value: &explanation{}, Usage: "print each step, its result and how long it took: text, or =json"}
}

// explains tells whether it is wanted.
func explains(c *cli.Context) bool { return formatOf(c) != "" }

func formatOf(c *cli.Context) string {
	e, _ := c.Generic("explain").(*explanation)
	if e == nil {
		return ""
	}
	return e.format
}

// observer prints what a process did whose parent we are.
func observer(c *cli.Context) func(*plan.Plan, []launch.Timing) {
	if !explains(c) {
		return nil
	}
	return func(_ *plan.Plan, times []launch.Timing) {
		explain(standardError{}, formatOf(c), container.Steps(times))
	}
}

// measure begins to measure for what explainReport prints.
func measure(c *cli.Context, id string) error {
	if !explains(c) {
		return nil
	}
	return runtimeOf(c).Measure(id)
}

// explainReport prints what the process of a container has done.
func explainReport(c *cli.Context, id string) error {
	if !explains(c) {
		return nil
	}
	steps, err := runtimeOf(c).Steps(id)
	if err != nil {
		return err
	}
	explain(standardError{}, formatOf(c), steps)
	return nil
}

// explain prints the steps.
func explain(w io.Writer, format string, steps []container.Step) {
	if format == "json" {
		_ = json.NewEncoder(w).Encode(steps) // as with all else that goes to standard error
		return
	}
	section, total := "", 0.0
	for _, s := range steps {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(w, "\n# %s (chapter %d)\n", s.Section, s.Chapter)
		}
		failed := ""
		if s.Errno != "" {
			failed = " " + s.Errno
		}
		fmt.Fprintf(w, "%9.1f µs  %s → %d%s\n", s.Microseconds, s.Call, s.Result, failed)
		total += s.Microseconds
	}
	fmt.Fprintf(w, "\n%9.1f µs  in %d steps, the waiting included\n", total, len(steps))
}
