package container

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Our own binary, out of reach. Until its execve(2) a container's process is
// this program, and /proc/PID/exe of it leads to the file on the host, which
// root in a container could then overwrite (CVE-2019-5736). Who gets at it is
// another process that sees this one: one of a pid namespace that is joined,
// or of the host's own.

// protectSelf starts this program again from a read-only mount of its file
// that is attached nowhere, if the container shares its pid namespace and that
// has not been done yet. What opens /proc/PID/exe for writing gets EROFS. It
// must be called before anything is made on the host.
func protectSelf(spec *specs.Spec) error {
	alone := slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.PIDNamespace && n.Path == ""
	})
	if alone {
		return nil
	}
	const self = "/proc/self/exe"
	var st unix.Statfs_t
	if err := unix.Statfs(self, &st); err != nil {
		return fmt.Errorf("look at %q: %w", self, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, self, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return hint.Add(fmt.Errorf("protect this program from the container: open %q: %w", self, err),
			"sharing a pid namespace needs CAP_SYS_ADMIN; run it as root")
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("protect this program from the container: make its file read-only: %w", err)
	}
	err = syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), os.Args, os.Environ())
	return fmt.Errorf("protect this program from the container: start again: %w", err)
}
