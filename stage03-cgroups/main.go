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

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/container"
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
	box, err := box(root, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	box.Prepare.Do = func(process *launch.Process) error { return group.Add(process.Pid) }
	status, err := box.Run(ctx)
	if err != nil {
		return err
	}
	return verdict(argv[0], status, group, l)
}

// box is the container of chapter 2, with a cgroup namespace: what it sees of
// its group's name is "/", because the namespace is made when the process is in
// the group (cgroup_namespaces(7)).
func box(root string, argv []string) (*container.Container, error) {
	path, err := rootfs.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	namespaces, err := container.Own(specs.LinuxNamespace{Type: specs.CgroupNamespace})
	if err != nil {
		return nil, err
	}
	return &container.Container{
		Namespaces: namespaces, Root: root, Hostname: "stage03",
		Path: path, Argv: argv, Env: container.Environment(),
		Prepare: container.Preparation{Chapter: 3, Title: "wait until the parent has put this process into its cgroup"},
	}, nil
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
	return container.Failed(status)
}

func main() { os.Exit(command.Run(app(), os.Args)) }
