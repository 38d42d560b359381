package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// Files that no disk holds: the kernel itself answers who reads /proc and /sys,
// and who opens a node in /dev. Programs expect them. See proc(5), sysfs(5),
// mknod(2), null(4).

// kernelFiles is one of the three directories.
type kernelFiles struct {
	name  string // its name in the root, and the flag's
	about string
	add   func(*plan.Plan) // adds its steps, the first of which mounts it
}

// allKernelFiles are the three, in the order in which they are mounted.
var allKernelFiles = []kernelFiles{
	{"dev", "mount a /dev with null, zero, full, random, urandom and tty", devices},
	{"proc", "mount the processes on /proc", processes},
	{"sys", "mount the kernel's objects on /sys", objects},
}

// devices adds a tmpfs with device nodes. They could lie in the root's own
// folder /dev, but many a host mounts /tmp and /home with MS_NODEV, which makes
// nodes on them useless, and nodes of a tmpfs are gone when it is unmounted.
func devices(p *plan.Plan) {
	p.Section(1, "devices")
	p.Add(
		plan.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"),
		plan.Umask(0), // or the nodes could be written by root only
	)
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		p.Add(plan.Mknodat(plan.CWD, "/dev/"+d.name, unix.S_IFCHR|0o666, unix.Mkdev(d.major, d.minor)))
	}
	p.Add(plan.Umask(0o022))
}

// processes adds the proc file system. Nothing in it need be executed or be a
// device, and what is not needed is not allowed.
func processes(p *plan.Plan) {
	p.Section(1, "processes")
	p.Add(plan.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
}

// objects adds the sysfs. It is read-only: what is written there, a program
// tells the one kernel that all share.
func objects(p *plan.Plan) {
	p.Section(1, "the kernel's objects")
	p.Add(plan.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
}

// checkFree reports what would stop the mounts of files in the root dir: a
// mount that an earlier run has left, for example. The mounts are made in the
// host's own list, so a root that is the host's "/" is refused.
func checkFree(dir string, files []kernelFiles) error {
	if len(files) == 0 {
		return nil
	}
	if err := checkNotHost(dir); err != nil {
		return err
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if err := freeMountPoint(root, f.name); err != nil {
			return fmt.Errorf("mount %q in root %q: %w", "/"+f.name, dir, err)
		}
	}
	return nil
}

// checkNotHost is an error when dir is the root of this process itself.
func checkNotHost(dir string) error {
	host, err := os.Stat("/")
	if err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return hint.Add(fmt.Errorf("find root %q: %w", dir, reason(err)), "name the root as it was named to run")
	}
	if os.SameFile(host, info) {
		return hint.Add(fmt.Errorf("root %q is the host's own", dir), "its /dev, /proc and /sys are those that the host works with")
	}
	return nil
}

// reason is the kernel's reason in an error that names the file already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// freeMountPoint is an error unless name is a directory on which nothing is
// mounted: statx(2), STATX_ATTR_MOUNT_ROOT.
func freeMountPoint(root *inroot.Root, name string) error {
	point, err := root.Lookup(name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return hint.Add(err, "the root needs an empty directory there")
	}
	if err != nil {
		return err
	}
	defer point.Close()
	var st unix.Statx_t
	if err := unix.Statx(int(point.Fd()), "", unix.AT_EMPTY_PATH, 0, &st); err != nil {
		return fmt.Errorf("statx: %w", err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return hint.Add(fmt.Errorf("something is mounted there already: %w", unix.EBUSY),
			"an earlier run has left it: use it without the flag, or unmount it with: stage01 clean ROOT")
	}
	return nil
}

// unmountDone undoes the mounts of a plan whose step number failed (from 0)
// could not be done. This process is in the new root by then, so the names are
// those of the plan.
func unmountDone(p *plan.Plan, failed int, files []kernelFiles) error {
	mounted := 0
	for _, s := range p.Steps()[:failed] {
		if s.Call() == "mount" {
			mounted++
		}
	}
	var errs []error
	for _, f := range slices.Backward(files[:mounted]) {
		if err := unix.Unmount("/"+f.name, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %q: %w", "/"+f.name, err))
		}
	}
	return errors.Join(errs...)
}
