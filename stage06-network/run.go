package main

// The container of chapter 2, and the moment between its birth and its program
// in which the host connects it.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage06-network/network"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 6

// namespaces are those that the container is born with: namespaces(7).
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// exitStatus is the error of a program that ended with another status than 0.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// run runs a program in a container.
func run(c *cli.Context) (err error) {
	if c.NArg() < 2 {
		return errors.New("run: want a root folder and a command")
	}
	root, err := filepath.Abs(c.Args().First())
	if err != nil {
		return err
	}
	gate, err := launch.NewGate()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	p, err := containerPlan(gate, root, c.Args().Tail())
	if err != nil {
		return err
	}
	runtime.LockOSThread() // ParentDeathSignal tells the death of a thread: prctl(2)
	defer runtime.UnlockOSThread()
	container, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, container.Kill(), container.Close()) }()
	if c.Bool("unconnected") {
		return finish(c.Context, gate, container)
	}
	disconnect, err := connect(c, container)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disconnect()) }()
	return finish(c.Context, gate, container)
}

// connect gives a container that waits at the gate its network. disconnect
// takes it away; so does the next run, if this one is killed.
func connect(c *cli.Context, container *launch.Process) (disconnect func() error, err error) {
	subnet, err := netip.ParsePrefix(c.String("subnet"))
	if err != nil {
		return nil, fmt.Errorf("--subnet: %w", err)
	}
	dir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return nil, err
	}
	n, err := network.Open(filepath.Join(dir, "network"), network.Config{Bridge: c.String("bridge"), Subnet: subnet})
	if err != nil {
		return nil, err
	}
	undoers := journal.Undoers{network.UndoKind: network.Undo}
	containers, id := filepath.Join(dir, "containers"), strconv.Itoa(os.Getpid())
	if err := state.Collect(containers, undoers, func(string, []journal.Entry) {}); err != nil {
		return nil, err
	}
	folder, err := state.Open(containers, id, undoers)
	if err != nil {
		return nil, err
	}
	if _, err := n.Attach(folder.Journal, id, fmt.Sprintf("/proc/%d/ns/net", container.Pid)); err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return folder.Close, nil // which undoes the journal
}

// finish opens the gate and waits for the container's end, which the end of
// ctx brings about.
func finish(ctx context.Context, gate *launch.Gate, container *launch.Process) error {
	if err := gate.Open(); err != nil {
		return err
	}
	killed := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { killed <- container.Kill() })
	status, err := container.Wait()
	switch {
	case !release(): // it has been killed, or is about to be
		return errors.Join(context.Cause(ctx), <-killed)
	case err != nil:
		return err
	case status.Signaled():
		return exitStatus(128 + int(status.Signal())) // as a shell has it
	case status.ExitStatus() != 0:
		return exitStatus(status.ExitStatus())
	}
	return nil
}

// containerPlan is what the container's first process does to itself.
func containerPlan(gate *launch.Gate, dir string, args []string) (*plan.Plan, error) {
	p := &plan.Plan{}
	p.Section(2, "end with the parent")
	p.Add(plan.ParentDeathSignal(unix.SIGKILL))
	p.Section(chapter, "wait until the host has connected us")
	p.Add(gate.Steps()...)
	p.Section(chapter, "switch lo on")
	p.Add(plan.LoopbackUp(p)...)

	mount.Detach(p, unix.MS_PRIVATE)
	root := mount.NewRoot(p, dir)
	p.Add(plan.Umask(0)) // so that devices get the mode that they ask for
	for _, m := range mounts {
		if err := root.Mount(m); err != nil {
			return nil, err
		}
	}
	if err := root.Devices(mount.DefaultDevices()); err != nil {
		return nil, err
	}
	root.Pivot()

	p.Section(2, "names, groups, and the program")
	p.Add(
		plan.Sethostname("stage06"),
		plan.Setgroups(), // none of the caller's: CVE-2022-2989
		plan.Umask(0o022), plan.CloseOnExec(3), plan.SetSignalMask(0),
	)
	p.Add(execvp.Steps(args, []string{"PATH=" + execvp.DefaultPath})...)
	return p, nil
}

// mounts are what programs expect beside the files of the root: runtime-spec
// config-linux.md, "Default Filesystems". What /sys shows of the network is
// that of the namespace in which it was mounted.
var mounts = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
}

// printPlan prints the plan of a container. What the host does meanwhile is no
// part of it: that is network.Attach.
func printPlan(c *cli.Context) (err error) {
	if c.NArg() < 2 {
		return errors.New("plan: want a root folder and a command")
	}
	gate, err := launch.NewGate()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	p, err := containerPlan(gate, c.Args().First(), c.Args().Tail())
	if err != nil {
		return err
	}
	return p.Print(c.App.Writer)
}
