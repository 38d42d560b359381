// Package narrate prints a demonstration: headings, sentences, and commands
// that are really run, each with what it printed. A demonstration is a test
// as well: its output is compared with a golden file, and the text of the
// workshop shows that file.
package narrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// A Demo writes to one place and stops at the first thing that went wrong:
// after that its methods do nothing, and Err tells what it was.
type Demo struct {
	w     io.Writer
	parts int
	err   error
}

// New returns a demonstration that writes to w.
func New(w io.Writer) *Demo { return &Demo{w: w} }

// Err is the first thing that went wrong, or nil.
func (d *Demo) Err() error { return d.err }

// Fail stops the demonstration with err, if that is not nil and nothing has
// failed before.
func (d *Demo) Fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// Part begins a numbered part.
func (d *Demo) Part(title string) {
	d.parts++
	if d.parts > 1 {
		d.print("\n")
	}
	d.print("== %d. %s\n", d.parts, title)
}

// Say prints a sentence, or several lines.
func (d *Demo) Say(format string, a ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, a...)) {
		d.print("%s\n", strings.TrimRight(line, "\n"))
	}
}

// Show prints a text, indented, as something that was read or made.
func (d *Demo) Show(text string) {
	for line := range strings.Lines(text) {
		d.print("%s\n", strings.TrimRight("  "+line, " \n"))
	}
}

// Run runs a command and prints it as a line with a prompt, then what it
// wrote to its output and error, indented. A command that fails stops the
// demonstration.
func (d *Demo) Run(shown string, cmd *exec.Cmd) { d.run(shown, cmd, false) }

// RunRefused is Run for a command that must fail: an attack that the kernel
// refuses, for example. If it succeeds, that stops the demonstration.
func (d *Demo) RunRefused(shown string, cmd *exec.Cmd) { d.run(shown, cmd, true) }

// run runs cmd, of which shown is what the audience sees.
func (d *Demo) run(shown string, cmd *exec.Cmd, refused bool) {
	if d.err != nil {
		return
	}
	d.print("$ %s\n", shown)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	d.Show(out.String())
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		d.Fail(fmt.Errorf("%s: %w", shown, err))
	case refused && err == nil:
		d.Fail(fmt.Errorf("%s: succeeded, and should have been refused", shown))
	case !refused && err != nil:
		d.Fail(fmt.Errorf("%s: %w", shown, err))
	case refused:
		d.print("  (exit status %d)\n", exit.ExitCode())
	}
}

// print writes, unless something has failed.
func (d *Demo) print(format string, a ...any) {
	if d.err != nil {
		return
	}
	_, err := fmt.Fprintf(d.w, format, a...)
	d.Fail(err)
}
