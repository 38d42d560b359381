package main

// This file makes a kernel that has just started into a machine that programs
// expect: a root directory that can be left, the kernel's file systems, its
// modules, a loopback link.

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
)

// enterRoot mounts the root directory on itself. What the kernel unpacked the
// initramfs into is the root of the tree of mounts, and has no parent;
// pivot_root(2) refuses to move it (EINVAL). The copy that lies on top has one.
func enterRoot() error {
	const top = "/top"
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", top, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %q to %q: %w", "/", top, err)
	}
	if err := os.Chdir(top); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %q to %q: %w", top, "/", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return os.Remove(top)
}

// mounts are the file systems of a usual machine, in order. That of the
// control groups is version 2 and nothing else, with every controller that the
// kernel has.
var mounts = []struct {
	kind, dir string
	flags     uintptr
	data      string
}{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"cgroup2", "/sys/fs/cgroup", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"tmpfs", "/tmp", 0, "mode=1777"}, // tests make devices and set-user-ID programs there,
}

// links of /dev that user space makes, udev(7) on other machines.
var links = map[string]string{
	"/dev/fd":     "/proc/self/fd",
	"/dev/stdin":  "/proc/self/fd/0",
	"/dev/stdout": "/proc/self/fd/1",
	"/dev/stderr": "/proc/self/fd/2",
}

func mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %q on %q: %w", m.kind, m.dir, err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, name); err != nil {
			return err
		}
	}
	return nil
}

// loadModules loads the kernel's modules, each after those that it needs:
// finit_module(2). One that the kernel has already (EEXIST) is fine.
func loadModules(names []string) error {
	for _, name := range names {
		file, err := os.Open(filepath.Join(wire.ModulesDir, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(file.Fd()), "", 0)
		file.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load module %q: %w", name, err)
		}
	}
	return nil
}

// loopbackUp gives the machine the one link of its network: netdevice(7).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("set link %q up: %w", "lo", err)
	}
	return nil
}
