package plan

import (
	"fmt"
	"strings"
	"syscall"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan/machine"
)

// What is said when a step fails: which one, the kernel's reason (errno(3)), and
// the kernel's own words where it has any (fsopen(2) keeps a log).

// An Error says which step of a plan failed, and why.
type Error struct {
	Index   int           // which step, from 0
	Of      int           // how many steps the plan has
	Step    Step          // the step itself
	Errno   syscall.Errno // the kernel's reason
	Message string        // the kernel's own words about a mount, if it had any
}

// Error reads: mount "proc" on "/proc": operation not permitted (step 7 of 31).
func (e *Error) Error() string {
	reason := e.Errno.Error()
	if e.Message != "" {
		reason += ": " + e.Message
	}
	return fmt.Sprintf("%s: %s (step %d of %d)", e.Step.What(), reason, e.Index+1, e.Of)
}

// Unwrap lets errors.Is find the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Failure is the error that a page reports, with its hint, or nil when no
// step has failed.
func (p *Plan) Failure(page *machine.Page) error {
	index, errno := page.Report()
	if errno == 0 {
		return nil
	}
	step := p.steps[index]
	message, _, _ := strings.Cut(string(page.Message[:]), "\x00")
	err := &Error{Index: index, Of: len(p.steps), Step: step, Errno: errno, Message: kernelMessage(message)}
	for _, h := range step.hints {
		if h.errno == errno {
			return hint.Add(err, h.text)
		}
	}
	return hint.Add(err, usualCause(step.call, errno))
}

// kernelMessage takes the level ("e ", "w ", "i ") off the first line that
// an fsopen(2) context has to say.
func kernelMessage(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 2 && line[1] == ' ' {
		line = line[2:]
	}
	return strings.TrimSpace(line)
}
