package main

import (
	"encoding/json"
	"fmt"
	"io"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// --explain: what a command made a process do, a system call a line, with its result
// and how long it took. It goes to standard error: standard output is the container's.

// explainFlag may go without its value.
var explainFlag = commandline.Flag{
	Kind: commandline.Word, Name: "explain", Words: "text json",
	Usage: "print each step, its result and how long it took: text, or =json",
}

// explains tells whether it is wanted.
func explains(c *commandline.Context) bool { return c.String("explain") != "" }

// observer prints what a process did whose parent we are.
func observer(c *commandline.Context) func(*plan.Plan, []launch.Timing) {
	if !explains(c) {
		return nil
	}
	return func(_ *plan.Plan, times []launch.Timing) {
		explain(standardError{}, c.String("explain"), container.Steps(times))
	}
}

// measure begins to measure for what explainReport prints.
func measure(c *commandline.Context, id string) error {
	if !explains(c) {
		return nil
	}
	return runtimeOf(c).Measure(id)
}

// explainReport prints what the process of a container has done.
func explainReport(c *commandline.Context, id string) error {
	if !explains(c) {
		return nil
	}
	steps, err := runtimeOf(c).Steps(id)
	if err != nil {
		return err
	}
	explain(standardError{}, c.String("explain"), steps)
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
