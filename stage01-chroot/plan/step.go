package plan

import (
	"fmt"
	"strings"
	"syscall"

	"skiff.example/stage01-chroot/plan/machine"
)

// One step: a call with its arguments, and what surrounds it: where its result
// goes, when it is left out, which failures are fine.

// A Step is one system call of a plan: what is called, with which arguments,
// and what it is for. The constructors in calls_*.go make steps; the methods
// here return changed copies, so that they can be chained:
//
//	plan.Openat2(root, "proc/scsi", how).Into(dir).Accept(unix.ENOENT)
type Step struct {
	call   string // the system call's name
	number uintptr
	args   []Arg

	doing  func() string // what an error says was being done; made when it is asked for
	hints  []errnoHint
	into   *Register
	when   *Register
	unless *Register
	log    *Register
	accept []syscall.Errno
	flow   machine.Flow
	broken bool

	Chapter int    // the chapter of workshop.md that explains the step
	Section string // the heading under which the plan prints it
}

// call makes a step; doing is what an error says, and may be a format.
func call(name string, number uintptr, args []Arg, doing string, a ...any) Step {
	return Step{call: name, number: number, args: args, doing: words(doing, a)}
}

// Call is the name of the system call.
func (s Step) Call() string { return s.call }

// Descriptors are the descriptors that the call takes, other than registers.
func (s Step) Descriptors() (numbers []int) {
	for _, a := range s.args {
		if d, ok := a.(Descriptor); ok && d.Number >= 0 {
			numbers = append(numbers, d.Number)
		}
	}
	return numbers
}

// What says what the step does, as errors say it.
func (s Step) What() string { return s.doing() }

// words makes a text when it is asked for: most steps never fail.
func words(format string, a []any) func() string {
	return func() string { return fmt.Sprintf(format, a...) }
}

// Result is the register that the step writes, if any.
func (s Step) Result() (Register, bool) {
	if s.into == nil {
		return Register{}, false
	}
	return *s.into, true
}

// Doing sets what an error says was being done: `mount "proc" on "/proc"`.
func (s Step) Doing(format string, a ...any) Step {
	s.doing = words(format, a)
	return s
}

// Hint sets the advice that goes with one errno of this step; it comes
// before the general advice for the call (see hints.go).
func (s Step) Hint(errno syscall.Errno, text string) Step {
	s.hints = append([]errnoHint{{errno, text}}, s.hints...) // the first one found counts
	return s
}

// An errnoHint is the advice that goes with one errno.
type errnoHint struct {
	errno syscall.Errno
	text  string
}

// Into stores the result in r: for most calls a descriptor, after a failure
// that was accepted the negative errno.
func (s Step) Into(r Register) Step { s.into = &r; return s }

// Accept names failures that are fine, at most three.
func (s Step) Accept(errnos ...syscall.Errno) Step {
	s.accept = append(append([]syscall.Errno{}, s.accept...), errnos...)
	return s
}

// When leaves the step out unless r holds a success.
func (s Step) When(r Register) Step { s.when = &r; return s }

// Unless leaves the step out unless r holds a failure.
func (s Step) Unless(r Register) Step { s.unless = &r; return s }

// Log names the fsopen(2) context that can explain a failure of this step.
func (s Step) Log(context Register) Step { s.log = &context; return s }

// Text is the call in strace's notation; name is as in Namer.
func (s Step) Text(name Namer) string {
	args := make([]string, len(s.args))
	for i, a := range s.args {
		args[i] = a.text(name)
	}
	return s.call + "(" + strings.Join(args, ", ") + ")"
}

// String is the step as a plan prints it: the call, the register that takes
// its result, and in a comment what is not plain sequence.
func (s Step) String() string {
	text := s.Text(func(name string) string { return name })
	if s.into != nil {
		text += " = " + s.into.Name
	}
	if notes := s.notes(); len(notes) > 0 {
		text += "  /* " + strings.Join(notes, "; ") + " */"
	}
	return text
}

// notes says under which conditions the step is done and which failures of
// it are fine.
func (s Step) notes() []string {
	var notes []string
	if s.when != nil {
		notes = append(notes, "if "+s.when.Name)
	}
	if s.unless != nil {
		notes = append(notes, "if not "+s.unless.Name)
	}
	if len(s.accept) > 0 {
		names := make([]string, len(s.accept))
		for i, e := range s.accept {
			names[i] = errnoName(e)
		}
		notes = append(notes, strings.Join(names, " or ")+" is fine")
	}
	if s.flow&machine.Split != 0 {
		notes = append(notes, "the caller exits, the new process goes on")
	}
	return notes
}
