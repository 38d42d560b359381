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
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/cgroupmount"
	"skiff.example/stage03-cgroups/state"
)

// run runs argv in a container on the root file system root. The order is the
// chapter: first the journal, then the group with its limits, then the process,
// which enters the group before it does anything of its own.
func run(ctx context.Context, o options, root string, argv []string) (err error) {
	if err := binfmt.Check(root, argv[0]); err != nil {
		return err
	}
	folder, err := state.Open(o.stateDir, o.name, cgroup.Undoers())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }() // undoes the journal

	group, err := groupOf(o.stateDir, o.name)
	if err != nil {
		return err
	}
	if err := free(group); err != nil {
		return err
	}
	if err := group.Create(folder.Journal); err != nil {
		return err
	}
	if err := group.Set(o.limits); err != nil {
		return err
	}
	box, err := newBox(o, group, root, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	if box.Cgroup, err = group.Descriptor(); err != nil {
		return err
	}
	defer box.Cgroup.Close()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := noneInherited(); err != nil {
		return err
	}
	over := killAtTheEnd(ctx, group)
	status, err := box.Run(ctx)
	return explain(ctx, argv[0], status, errors.Join(err, over()), group)
}

// newBox is the container of chapter 2, with a cgroup namespace: what it sees of
// its group's name is "/", because the namespace is made when the process is in
// the group (cgroup_namespaces(7)). In the group of version 2 the process is born,
// into those of version 1 it is put while it waits. Of the tree of groups it sees
// its own, which it may read.
func newBox(o options, group *cgroup.Manager, root string, argv []string) (*container.Container, error) {
	path, err := binfmt.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	namespaces, err := container.Own(specs.LinuxNamespace{Type: specs.CgroupNamespace})
	if err != nil {
		return nil, err
	}
	c := &container.Container{
		Namespaces: namespaces, Root: root, Hostname: "stage03",
		Path: path, Argv: argv, Env: container.Environment(),
		Prepare: container.Preparation{
			Chapter: 3, Title: "wait until the parent has put this process into its cgroup",
			Do: func(process *launch.Process) error { return group.AddV1(process.Pid) },
		},
		Fill: func(r *mount.Root) error { return cgroupmount.Add(r, cgroupmount.Usual(), group.Paths()) },
	}
	if !o.mayMount {
		c.Process = noMounts
	}
	return c, nil
}

// noneInherited empties the inheritable set of this thread, from which the
// container's process is cloned, and the ambient set with it: what whoever has
// called us has in there, root's execve(2) would give to the program, whatever its
// bounding set is (CVE-2022-29162, capabilities(7)). In the plan it would be too
// late: a process whose capabilities grow with its execve(2) forgets that it is to
// die with its parent, prctl(2).
func noneInherited() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	err := unix.Capget(&header, &sets[0])
	if err == nil {
		sets[0].Inheritable, sets[1].Inheritable = 0, 0
		err = unix.Capset(&header, &sets[0])
	}
	if err != nil {
		return fmt.Errorf("empty the inheritable capabilities: %w", err)
	}
	return nil
}

// noMounts adds the step without which a read-only mount is a request: root with
// CAP_SYS_ADMIN mounts its groups once more, and writes its own limits there. What
// is not in the bounding set no program gets, root's included: capabilities(7).
//
// One way stays: in a user namespace of its own it has the capability again, may
// mount its groups there, and owns their files, being root. The filter of chapter
// 7 forbids to make one; version 2 mounted with nsdelegate refuses the write.
func noMounts(p *plan.Plan) {
	p.Section(3, "no right to mount the cgroups again, writable")
	p.Add(plan.DropBounding(unix.CAP_SYS_ADMIN))
}

func main() { os.Exit(command.Run(app(), os.Args)) }
