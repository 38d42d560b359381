// Command stage02 runs a program in namespaces of its own: chapter 2 of
// workshop.md.
//
// Chapter 1 took the host's file names away, and everything without a file name
// stayed: processes, mounts, the host name, the network. A namespace is a set
// of such things that belongs to some processes only: namespaces(7). The
// program here is born into five new ones, by a single clone3(2). It is process
// 1 of its pid namespace, alone with a loopback interface, and may mount and
// name what it likes: nobody else sees it.
//
// A new mount namespace begins as a copy of the host's. So the rest of the plan
// builds a tree of mounts and then drops the host's: pivot_root(2) exchanges
// the root mount itself, where chroot(2) moved only this process's idea of it.
// Above the new root there is nothing left to climb to.
package main

import (
	"errors"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/mount"
)

// kinds are the namespaces of this chapter's container. User namespaces come
// with the finished runtime, cgroup namespaces with their cgroups.
const kinds = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET

// container is the plan of this chapter: what the first process of a container
// does to itself, in its new namespaces, before it becomes the program argv.
func container(root, hostname string, argv []string) (*plan.Plan, error) {
	program, err := rootfs.Find(root, argv[0])
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{}
	p.Section(2, "no container without its parent")
	p.Add(plan.ParentDeathSignal(unix.SIGKILL))
	p.Section(2, "a network of its own")
	p.Add(plan.LoopbackUp(p)...)
	p.Section(2, "a name of its own")
	p.Add(plan.Sethostname(hostname).Hint(unix.EINVAL, "a host name has at most 64 bytes"))
	if err := fileSystem(p, root); err != nil {
		return nil, err
	}
	p.Section(2, "the program")
	p.Add(
		plan.CloseOnExec(3), // all but standard input, output and error
		plan.SetSignalMask(0),
		plan.Execve(program, argv, environment),
	)
	return p, nil
}

// fileSystem adds the steps that build the container's tree of mounts on the
// directory root, and leave the host's.
func fileSystem(p *plan.Plan, root string) error {
	mount.Detach(p, unix.MS_PRIVATE)
	r := mount.NewRoot(p, root)
	p.Section(2, "files get the mode that they ask for")
	p.Add(plan.Umask(0))
	for _, m := range mounts {
		if err := r.Mount(m); err != nil {
			return err
		}
	}
	if err := r.Devices(mount.DefaultDevices()); err != nil {
		return err
	}
	r.ReadOnlyPath("/proc/sys")           // the kernel's settings are the host's
	r.ReadOnlyPath("/proc/sysrq-trigger") // which reboots the host
	r.Mask("/proc/kcore")                 // the memory of the kernel
	r.Pivot()
	p.Section(2, "the usual file mode mask")
	p.Add(plan.Umask(0o022))
	return nil
}

// mounts are what programs expect to find. proc shows the processes of the pid
// namespace that mounts it, sysfs the interfaces of the network namespace.
var mounts = []specs.Mount{
	{Destination: "/proc", Type: "proc", Source: "proc", Options: words("nosuid,nodev,noexec")},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: words("nosuid,nodev,noexec,ro")},
	{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: words("nosuid,mode=755,size=64k")},
	{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: words("nosuid,noexec,newinstance,ptmxmode=0666,mode=0620")},
	{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: words("nosuid,nodev,noexec,mode=1777,size=64m")},
	{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: words("nosuid,nodev,noexec")},
}

// words are mount options, written as in fstab(5).
func words(options string) []string { return strings.Split(options, ",") }

func main() {
	err := app().Run(os.Args)
	var status exitStatus
	if errors.As(err, &status) {
		os.Exit(int(status)) // the program's, which has said what there was to say
	}
	if err != nil {
		hint.Print(os.Stderr, "stage02", err)
		os.Exit(1)
	}
}
