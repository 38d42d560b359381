package main

import (
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/mount"
)

// The container of chapter 2, put together from its packages: new namespaces,
// a root of its own with /proc and /dev in it. New here is the first section:
// the process waits until it is in its cgroup.

// namespaces are those that the container's process is born with:
// namespaces(7). The cgroup namespace is not among them, see container.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// filesystems are what programs expect to be mounted: runtime-spec
// config-linux.md, "Default Filesystems".
var filesystems = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
}

// environment is what the program starts with: nothing of the host's.
var environment = []string{"PATH=" + strings.Join(rootfs.DefaultPath, ":"), "HOME=/root"}

// container is what the container's first process does to itself, once wait
// lets it.
func container(root string, argv []string, wait []plan.Step) (*plan.Plan, error) {
	program, err := rootfs.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{}
	p.Section(3, "wait until the parent has put this process into its cgroup")
	p.Add(wait...)
	// The cgroup that a process is in when it makes a cgroup namespace is the
	// root of what it sees from then on: cgroup_namespaces(7). So, not before.
	p.Section(3, "a cgroup namespace")
	p.Add(plan.Unshare(unix.CLONE_NEWCGROUP))

	mount.Detach(p, unix.MS_PRIVATE)
	r := mount.NewRoot(p, root)
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
	p.Add(plan.Sethostname("stage03"))
	p.Add(plan.LoopbackUp(p)...)
	p.Section(2, "the program")
	p.Add(plan.Umask(0o022), plan.CloseOnExec(3), plan.SetSignalMask(0), plan.Execve(program, argv, environment))
	return p, nil
}
