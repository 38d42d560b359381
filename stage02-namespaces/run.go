package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/launch"
)

// Running the container: start its first process, wait for its end, pass its
// status on.

// environment is what programs in the container start with.
var environment = []string{"PATH=" + strings.Join(rootfs.DefaultPath, ":"), "HOME=/root"}

// exitStatus is the status of a container's program, on its way to main.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run runs a program in a container. When it is over, nothing of the container
// is left: no process, because the kernel ends a pid namespace with its process
// 1, and no mount, because a mount namespace ends with its last process.
func run(ctx context.Context, root, hostname string, argv []string) error {
	if err := rootfs.Check(root, argv[0]); err != nil {
		return err
	}
	p, err := container(root, hostname, argv)
	if err != nil {
		return err
	}
	// Process 1 gets no signal that it has no handler for (pid_namespaces(7)),
	// so Ctrl-C is ours to see to.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	defer stop()
	// The parent death signal is sent when this thread ends, not this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return wait(ctx, p)
}

// wait starts the container's first process, waits until it has ended or ctx
// is done, and returns its status if that is not 0.
func wait(ctx context.Context, p *plan.Plan) (err error) {
	process, err := launch.Start(p, launch.Options{Namespaces: kinds})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.Close()) }()
	killed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { killed <- process.Signal(unix.SIGKILL) })
	status, err := process.Wait()
	if !stop() { // ctx was done first
		return errors.Join(errors.New("interrupted"), unlessDone(<-killed))
	}
	switch {
	case err != nil:
		return err
	case status.Signaled():
		return exitStatus(128 + int(status.Signal())) // as shells have it
	case status.ExitStatus() != 0:
		return exitStatus(status.ExitStatus())
	}
	return nil
}

// unlessDone drops the error of a signal that came after the end.
func unlessDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
