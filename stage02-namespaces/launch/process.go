package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
)

// What the parent has of its child: a pidfd to signal and to wait for
// (pidfd_open(2)), and the page in which the child says how far it is.

// A Process is a child that runs a plan or, after that, its program. It is
// addressed by a pidfd, which unlike a pid never comes to mean another
// process: pidfd_open(2).
type Process struct {
	// Pid is the process's id in the pid namespace of this process.
	Pid int

	plan   *plan.Plan
	page   *machine.Page
	memory []byte   // what page is mapped from
	alive  *os.File // at its end when the plan is over, see clone
	pidfd  *os.File

	waiting sync.Mutex
	reaped  bool
	status  unix.WaitStatus
}

// Adopt makes a Process of a child of this process that somebody else has made for it.
// It has no plan.
func Adopt(pid int) (*Process, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &Process{Pid: pid, pidfd: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// Started waits until the plan has ended: with its program running (or an
// exit step), which returns nil, or with a step that failed, which returns a
// *plan.Error. It is also an error when something killed the process before.
func (p *Process) Started() error {
	var said [1]byte // nothing is ever said
	if _, err := p.alive.Read(said[:]); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the plan of process %d: %w", p.Pid, err)
	}
	return p.failure()
}

// Failure returns the error of the step that has failed, if one has by now.
// It does not wait.
func (p *Process) Failure() error { return p.plan.Failure(p.page) }

// failure tells how the plan ended, once it has.
func (p *Process) failure() error {
	if p.plan == nil { // see Adopt
		return nil
	}
	if err := p.plan.Failure(p.page); err != nil {
		return err
	}
	switch step, _ := p.page.Report(); {
	case step == p.plan.Len():
		return fmt.Errorf("process %d came to the end of its plan, and there was no program", p.Pid)
	case !p.plan.EndsAt(step):
		return fmt.Errorf("process %d was killed before its program: %s (step %d of %d)",
			p.Pid, p.plan.Doing(step), step+1, p.plan.Len())
	}
	return nil
}

// Wait waits until the process has ended and returns how. The error is that
// of the plan, if one of its steps failed.
func (p *Process) Wait() (unix.WaitStatus, error) {
	status, err := p.reap()
	if err != nil {
		return status, err
	}
	return status, p.failure()
}

// reap is wait4(2), once.
func (p *Process) reap() (unix.WaitStatus, error) {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	if p.reaped {
		return p.status, nil
	}
	for {
		_, err := unix.Wait4(p.Pid, &p.status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for process %d: %w", p.Pid, err)
		}
		p.reaped = true
		return p.status, nil
	}
}

// Signal sends a signal: pidfd_send_signal(2). To a process that has ended
// it is an error that os.ErrProcessDone.
func (p *Process) Signal(signal syscall.Signal) error {
	err := unix.PidfdSendSignal(int(p.pidfd.Fd()), signal, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("send %v to process %d: %w", unix.SignalName(signal), p.Pid, err)
	}
	return nil
}

// Kill ends the process and waits for it. After it nothing of the process is
// left; in a pid namespace of its own that is true of all processes in it.
func (p *Process) Kill() error {
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_, err := p.reap()
	return err
}

// Pidfd is the descriptor of the process, valid until Close.
func (p *Process) Pidfd() *os.File { return p.pidfd }

// Close gives back what the parent holds of the process: descriptors and
// memory. It does not end the process.
func (p *Process) Close() error {
	var errs []error
	for _, f := range []*os.File{p.alive, p.pidfd} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if p.memory != nil {
		errs = append(errs, unix.Munmap(p.memory))
		p.memory, p.page = nil, nil
	}
	return errors.Join(errs...)
}

// A Timing is how long one step took, and what its call returned: after a failure
// the negative errno.
type Timing struct {
	Step   plan.Step
	Took   time.Duration
	Result int64
}

// Times returns the duration of each step that was done, in order, when
// Options.Timed asked for it. The execve(2) that ends a plan is not among
// them: nothing of the plan is left to take the time.
func (p *Process) Times() []Timing {
	var times []Timing
	var last int64
	for i, s := range p.plan.Steps() {
		mark := p.page.Mark(i)
		if mark.Time == 0 {
			continue
		}
		if last == 0 {
			last = p.page.Born
		}
		times = append(times, Timing{s, time.Duration(mark.Time - last), mark.Result})
		last = mark.Time
	}
	return times
}
