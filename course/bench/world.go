package main

// This file makes the place where the comparison runs: a mount namespace
// (mount_namespaces(7)) in which two things differ from the machine around it.
//
// On /run, where all runtimes keep their state, is a tmpfs; the bundle is
// there as well. So no container of this machine is touched, and everything
// goes when the namespace does, however this program ends.
//
// In the hybrid layout of control groups the empty cgroup2 hierarchy, on
// /sys/fs/cgroup/unified, is unmounted: crun 1.8 refuses to start beside it,
// and all shall find the same.

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// enterWorld puts the calling goroutine, and every process that it starts from
// now on, into the mount namespace. The thread is locked to it for good: for
// the program's other threads the world stays as it was.
func enterWorld() error {
	if os.Geteuid() != 0 {
		return hint.Add(errors.New("the runtimes are compared as root"), "sudo make bench")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf(`mount "tmpfs" on "/run": %w`, err)
	}
	const unified = "/sys/fs/cgroup/unified"
	err := unix.Unmount(unified, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) { // not there, or no mount: not hybrid
		return fmt.Errorf("unmount %q: %w", unified, err)
	}
	return nil
}
