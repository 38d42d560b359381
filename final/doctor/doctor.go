// Package doctor examines the machine before skiff works on it: for each
// thing that a stage needs, one line says that it is there, or what is
// missing, which stage needs it, and how to mend it.
//
//	ok      kernel                6.12.43 (5.14 or newer)
//	warn    AppArmor              an ordinary user's user namespaces get no capabilities  wanted by stage 2 – sysctl …
//	MISSING overlay               not in /proc/filesystems  needed by stage 4 – modprobe overlay
//	skip    forward policy        it is not shown to an ordinary user
//
// What can be tried is tried, in child processes inside new namespaces
// (trial.go): a kernel may have a feature that a sandbox around us forbids.
// Everything else is read from /proc and /sys. A trial may have the kernel
// load a module, as skiff itself would; nothing else of it is left.
package doctor

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// State is what a check has come to.
type State string

const (
	OK      State = "ok"
	Warn    State = "warn"    // some of a stage works otherwise, or not at all
	Missing State = "MISSING" // the stage does not work
	Skip    State = "skip"    // it cannot be told, most often for want of root
)

// Result is what a check has found.
type Result struct {
	State  State
	Found  string // what is there, or is not
	Remedy string // how to mend it; its further lines are commands to type
}

// Check is one requirement.
type Check struct {
	Name  string
	Stage int // the first that needs it: 1 to 6, 7 for the finished runtime
	Look  func(Host) Result
}

// Checks returns all requirements, in the order of the stages.
func Checks() []Check {
	var all []Check
	for _, topic := range [][]Check{
		machineChecks(), namespaceChecks(), rootlessChecks(), cgroupChecks(), storageChecks(), networkChecks(), buildChecks(),
	} {
		all = append(all, topic...)
	}
	return all
}

// Run writes a line for each requirement to w. The error names the
// requirements that are missing, or is that of w.
func Run(w io.Writer, h Host) error {
	var table bytes.Buffer
	var missing []string
	for _, c := range Checks() {
		r := c.Look(h)
		writeLine(&table, c, r)
		if r.State == Missing {
			missing = append(missing, c.Name)
		}
	}
	if _, err := w.Write(table.Bytes()); err != nil {
		return fmt.Errorf("write what was found: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing on this machine: %s", strings.Join(missing, ", "))
	}
	return nil
}

// writeLine writes the line of one check, and the commands of its remedy below
// each other.
func writeLine(w *bytes.Buffer, c Check, r Result) {
	const form = "%-7s %-21s %s"
	fmt.Fprintf(w, form, r.State, c.Name, r.Found)
	stage := fmt.Sprintf("stage %d", c.Stage)
	if c.Stage == 7 {
		stage = "the finished runtime"
	}
	switch r.State {
	case Missing:
		fmt.Fprintf(w, "  needed by %s", stage)
	case Warn:
		fmt.Fprintf(w, "  wanted by %s", stage)
	}
	first, rest, more := strings.Cut(r.Remedy, "\n")
	if first != "" {
		fmt.Fprintf(w, " – %s", first)
	}
	fmt.Fprintln(w)
	for more {
		first, rest, more = strings.Cut(rest, "\n")
		fmt.Fprintf(w, form+"\n", "", "", first)
	}
}

// The four ways in which a check ends.

func ok(format string, args ...any) Result {
	return Result{State: OK, Found: fmt.Sprintf(format, args...)}
}

func warn(found, remedy string) Result { return Result{Warn, found, remedy} }

func missing(found, remedy string) Result { return Result{Missing, found, remedy} }

func skip(found string) Result { return Result{State: Skip, Found: found} }
