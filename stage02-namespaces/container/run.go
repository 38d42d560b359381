package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace/whynot"
)

// The life of a container, as its parent sees it: born, prepared, waited for.
// Nothing of it is left on the host: no process, because the kernel ends a pid
// namespace with its process 1, and no mount, because a mount namespace ends
// with its last process.

// Run starts the container's process, prepares it, and waits until it has ended:
// by itself, or by SIGKILL because ctx was done; then the error is ctx's cause.
// It is an error as well if a step of the plan failed, and none if the program
// did: see Failed.
func (c *Container) Run(ctx context.Context) (status unix.WaitStatus, err error) {
	var gate *launch.Gate
	if c.waits() {
		if gate, err = launch.NewGate(); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, gate.Close()) }()
	}
	p, done, err := c.plan(gate)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, done()) }()

	if c.passesTerminal() {
		defer func() { err = errors.Join(err, takeBackTerminal()) }()
	}
	// The parent death signal is sent when this thread ends, not this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, err := launch.Start(p, launch.Options{Namespaces: c.Namespaces.Born(), Cgroup: c.Cgroup, Timed: c.Explain != nil})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, process.Kill(), process.Close()) }()
	if gate != nil {
		if err := c.prepare(process, gate); err != nil {
			return 0, err
		}
	}
	status, err = wait(ctx, process)
	err = c.restriction(err)
	if c.Explain != nil {
		launch.Explain(c.Explain, process.Times())
	}
	return status, err
}

// restriction says why a step was refused to somebody who has all capabilities: a
// distribution may let ordinary users make a user namespace, and take from them
// what they gain in it. AppArmor does, on Ubuntu since 23.10.
func (c *Container) restriction(err error) error {
	var step *plan.Error
	if !c.Namespaces.New(unix.CLONE_NEWUSER) || !errors.As(err, &step) || step.Errno != unix.EPERM && step.Errno != unix.EACCES {
		return err
	}
	if why := whynot.Restricted(); why != "" {
		return hint.Add(step, why) // in place of the usual hint
	}
	return err
}

// waits tells whether the parent has something to do before the process goes on.
func (c *Container) waits() bool { return c.Prepare.Do != nil || c.Namespaces.New(unix.CLONE_NEWUSER) }

// prepare does what only the parent can do, and lets the process go on.
func (c *Container) prepare(process *launch.Process, gate *launch.Gate) error {
	if c.Namespaces.New(unix.CLONE_NEWUSER) {
		if err := c.Maps.Write(process.Pid); err != nil {
			return err
		}
	}
	if c.Prepare.Do != nil {
		if err := c.Prepare.Do(process); err != nil {
			return err
		}
	}
	return gate.Open()
}

// wait waits for the process's end, which the end of ctx brings about. Process 1
// gets no signal that it has no handler for (pid_namespaces(7)), so Ctrl-C would
// not end it.
func wait(ctx context.Context, process *launch.Process) (unix.WaitStatus, error) {
	killed := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { killed <- process.Signal(unix.SIGKILL) })
	status, err := process.Wait()
	if release() {
		return status, err
	}
	if err := <-killed; err != nil && !errors.Is(err, os.ErrProcessDone) {
		return status, err
	}
	return status, context.Cause(ctx)
}

// ExitStatus is the error of a program that did not end with status 0. The
// program has said what there was to say; a main passes the status on. It is a
// cli.ExitCoder.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// ExitCode is the status: 128 and the signal's number if one ended the program,
// as shells have it.
func (s ExitStatus) ExitCode() int { return int(s) }

// Failed is the error of a program that ended with this status: nil or an
// ExitStatus.
func Failed(status unix.WaitStatus) error {
	switch {
	case status.Signaled():
		return ExitStatus(128 + int(status.Signal()))
	case status.ExitStatus() != 0:
		return ExitStatus(status.ExitStatus())
	}
	return nil
}
