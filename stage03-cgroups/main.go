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
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs"
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
	if err := rootfs.Check(root, argv[0]); err != nil {
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
	if err := group.Create(folder.Journal); err != nil {
		return err
	}
	if err := group.Set(o.limits); err != nil {
		return err
	}
	box, err := box(o, group, root, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	box.Prepare.Do = func(process *launch.Process) error { return group.Add(process.Pid) }

	awake := thawAtTheEnd(ctx, o)
	status, err := box.Run(ctx)
	if err := errors.Join(err, awake()); err != nil {
		return err
	}
	return verdict(argv[0], status, group)
}

// box is the container of chapter 2, with a cgroup namespace: what it sees of
// its group's name is "/", because the namespace is made when the process is in
// the group (cgroup_namespaces(7)). Of the tree of groups it sees its own, which
// it may read.
func box(o options, group *cgroup.Manager, root string, argv []string) (*container.Container, error) {
	path, err := rootfs.Find(root, argv[0])
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
		Prepare: container.Preparation{Chapter: 3, Title: "wait until the parent has put this process into its cgroup"},
		Fill:    func(r *mount.Root) error { return cgroupmount.Add(r, cgroupmount.Usual(), group.Paths()) },
	}
	if !o.mayMount {
		c.Process = noMounts
	}
	return c, nil
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

// groupOf is the group of the container called name below stateDir, which may not
// be there. It is called as the container's folder is: whoever keeps containers in
// another folder (--state) may have one of the same name, and must not meet ours.
func groupOf(stateDir, name string) (*cgroup.Manager, error) {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	folder := strings.Trim(filepath.Join(stateDir, name), "/")
	return hierarchies.New("/" + strings.ReplaceAll(folder, "/", "-"))
}

// thawAtTheEnd sees to it that the end of ctx ends also a container that is
// frozen: by version 1 of cgroups, a process in there cannot even be killed. The
// function that it returns stops that, and tells what went wrong.
func thawAtTheEnd(ctx context.Context, o options) func() error {
	thawed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		group, err := groupOf(o.stateDir, o.name)
		if err == nil {
			err = group.Kill() // which thaws, also the groups that were made inside
		}
		thawed <- err
	})
	return func() error {
		if stop() {
			return nil
		}
		return <-thawed
	}
}

// verdict says why the program has ended, unless it has said so itself. The kernel
// ends a program that has no memory left with SIGKILL and no word; the group
// knows. The status is the program's own, 128 and its number after a signal.
func verdict(program string, status unix.WaitStatus, group *cgroup.Manager) error {
	if status == 0 {
		return nil
	}
	stats, err := group.Stats()
	if err != nil {
		return err
	}
	var said error
	switch killed := stats.Memory != nil && stats.Memory.OOMKill > 0; {
	case killed && status.Signaled():
		said = fmt.Errorf("%q ran out of memory, and the kernel killed it", program)
	case killed:
		said = fmt.Errorf("%q ran out of memory, and the kernel killed a process of it", program)
	case status.Signaled():
		said = fmt.Errorf("%q was ended by %s", program, unix.SignalName(status.Signal()))
	default:
		return container.Failed(status)
	}
	if stats.Memory != nil && stats.Memory.OOMKill > 0 {
		said = hint.Add(said, fmt.Sprintf("the limit was %s: see --memory", size(stats.Memory.Max)))
	}
	hint.Print(os.Stderr, "stage03", said)
	return container.Failed(status)
}

func main() { os.Exit(command.Run(app(), os.Args)) }
