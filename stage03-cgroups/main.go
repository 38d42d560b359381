// Stage03 runs a program in a container that has limits.
//
// Namespaces decide what a process sees, and nothing else: a container that
// sees one process of its own can still start ten thousand, and one that sees
// an empty disk can still fill the host's memory. How much a process may use
// is the business of control groups. A group is a directory, a limit is a
// number in a file of it, and who is in the group is a list of pids in another
// file: cgroups(7). The kernel counts for all processes of a group together,
// and children are born into the group of their parent, so nobody gets out by
// forking.
//
// That directory is also the first thing that we leave on the host. Namespaces
// go away with the last process in them; a group stays until somebody removes
// it. A program that is killed removes nothing. So the second idea of this
// chapter is the journal: what will be on the host is written down before it is
// made, and whoever comes next can undo it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// run runs argv in a container called name, on the root file system root. The
// order is the chapter: first the journal, then the group with its limits, then
// the process, which enters the group before it does anything of its own.
func run(ctx context.Context, stateDir, name string, l limits, root string, argv []string) (err error) {
	if err := rootfs.Check(root, argv[0]); err != nil {
		return err
	}
	folder, err := state.Open(stateDir, name, cgroup.Undoers())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // undoes the journal

	hierarchies, err := cgroup.Detect()
	if err != nil {
		return err
	}
	group, err := hierarchies.New("/skiff-stage03-" + name)
	if err != nil {
		return err
	}
	if err := group.Create(folder.Journal); err != nil {
		return err
	}
	if err := group.Set(l.resources()); err != nil {
		return err
	}
	status, err := runIn(ctx, group, root, argv)
	if err != nil {
		return err
	}
	return verdict(argv[0], status, group, l)
}

// runIn starts the container's process, puts it into the group, and waits for
// its end, which the end of ctx brings about. The gate holds the process back
// until it is in: what it did before would be counted elsewhere.
func runIn(ctx context.Context, group *cgroup.Manager, root string, argv []string) (status unix.WaitStatus, err error) {
	gate, err := launch.NewGate()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	p, err := container(root, argv, gate.Steps())
	if err != nil {
		return 0, err
	}
	process, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, process.Kill(), process.Close()) }()
	if err := group.Add(process.Pid); err != nil {
		return 0, err
	}
	if err := gate.Open(); err != nil {
		return 0, err
	}
	killed := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { killed <- process.Signal(unix.SIGKILL) })
	status, err = process.Wait()
	if !release() {
		return status, errors.Join(context.Cause(ctx), <-killed)
	}
	return status, err
}

// verdict says how the program ended, unless all was well. The kernel ends a
// program that has no memory left with SIGKILL and no word; the group knows.
func verdict(program string, status unix.WaitStatus, group *cgroup.Manager, l limits) error {
	if status == 0 {
		return nil
	}
	stats, err := group.Stats()
	switch {
	case err != nil:
		return err
	case stats.Memory != nil && stats.Memory.OOMKill > 0:
		err := fmt.Errorf("%q ran out of memory, and the kernel killed it", program)
		return hint.Add(err, fmt.Sprintf("the limit was %d bytes: see --memory", l.memory))
	case status.Signaled():
		return fmt.Errorf("%q was ended by %s", program, unix.SignalName(status.Signal()))
	}
	return exitStatus(status.ExitStatus())
}

// exitStatus is the error of a program that ended with another status than 0.
// It is the program's own affair, so main says nothing about it.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := app().RunContext(ctx, os.Args)
	stop()
	if status, ok := errors.AsType[exitStatus](err); ok {
		os.Exit(int(status))
	}
	if err != nil {
		hint.Print(os.Stderr, "stage03", err)
		os.Exit(1)
	}
}
