package main

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage04-overlay/overlay"
)

// The container of chapter 2, put together from its packages. New here is
// where its root comes from: the first thing that it does with mounts of its
// own is to stack the layers. No other process ever sees that mount, and it
// goes away with the container.

// namespaces are those that the container is born with: namespaces(7).
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// filesystems are what programs expect to be mounted: runtime-spec
// config-linux.md, "Default Filesystems".
var filesystems = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
}

// container is what the container's first process does to itself: it mounts
// the layers on target, an empty directory, and makes that its root.
func container(layers overlay.Stack, target string, argv []string) (*plan.Plan, error) {
	p := &plan.Plan{}
	p.Section(4, "end with the parent")
	p.Add(plan.ParentDeathSignal(unix.SIGKILL))
	mount.Detach(p, unix.MS_PRIVATE)

	steps, err := layers.Steps(target)
	if err != nil {
		return nil, err
	}
	p.Section(4, "stack the layers")
	p.Add(steps...)

	r := mount.NewRoot(p, target)
	p.Add(plan.Umask(0)) // so that devices get the mode that they ask for
	for _, m := range filesystems {
		if err := r.Mount(m); err != nil {
			return nil, err
		}
	}
	if err := r.Devices(mount.DefaultDevices()); err != nil {
		return nil, err
	}
	r.Pivot()
	p.Section(2, "a name and a network of its own")
	p.Add(plan.Sethostname("stage04"))
	p.Add(plan.LoopbackUp(p)...)
	p.Section(2, "the program")
	p.Add(plan.Umask(0o022), plan.CloseOnExec(3), plan.SetSignalMask(0))
	env := []string{"PATH=" + execvp.DefaultPath, "HOME=/root"}
	p.Add(execvp.Steps(argv, env)...)
	return p, nil
}
