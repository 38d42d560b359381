package container

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage02-namespaces/launch"
)

// Our own binary, out of reach. Until its execve(2) a container's process is
// this program, and /proc/PID/exe of it leads to the file on the host, which
// root in a container could then overwrite (CVE-2019-5736). Who gets at it is
// another process that sees this one: one of a pid namespace that is joined, of a
// second process of the container (exec, a hook), or the program itself, if that is
// /proc/self/exe.
//
// Not held off, as by runc: who has CAP_SYS_PTRACE in a pid namespace that a new
// container joins, and no user namespace around him, sees the root of the host through
// /proc/PID/root until pivot_root. He is trusted with the host.

// ownsPids tells whether a container has a pid namespace of its own.
func ownsPids(spec *specs.Spec) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.PIDNamespace && n.Path == ""
	})
}

const self = "/proc/self/exe"

// newShed prepares a process of a container to let go of this program, where it can.
func newShed() (*launch.Shed, error) {
	if !launch.CanShed() {
		return nil, nil // Protect has seen to it
	}
	return launch.NewShed(calledByPath()[0] + " init")
}

// Protect makes sure that no container gets at this program's file, where its process
// cannot let go of it (see launch.Shed). It starts this
// program again, with the same arguments, from a read-only mount of its file that is
// attached nowhere, if that has not been done yet: so it is called before anything
// else is. What opens /proc/PID/exe for writing gets EROFS. Who may not mount starts a
// sealed copy in memory instead, for which it is EPERM.
func Protect() error {
	if !Restarts() {
		return nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, self, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	switch {
	case errors.Is(err, unix.EPERM):
		fd, err = sealedCopy()
	case err == nil:
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	if err == nil {
		runtime.LockOSThread() // for good
		machine.SetTimerSlack()
		err = syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), calledByPath(), os.Environ())
	}
	return fmt.Errorf("protect this program from the container: start it from a file that cannot be written: %w", err)
}

// Restarts tells whether Protect is to start this program again.
func Restarts() bool {
	if launch.CanShed() {
		return false
	}
	var st unix.Statfs_t
	err := unix.Statfs(self, &st)
	return err != nil || st.Flags&unix.ST_RDONLY == 0 && !sealed()
}

// calledByPath are this program's arguments, the first of them its path: what is
// started from a mount that is attached nowhere cannot find it any more.
func calledByPath() []string {
	args := slices.Clone(os.Args)
	if path, err := os.Executable(); err == nil {
		args[0] = path
	}
	return args
}

// seals are what nobody can do any more to a copy of this program: memfd_create(2),
// "File sealing" in fcntl(2).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// sealed tells whether this program is such a copy.
func sealed() bool {
	fd, err := unix.Open(self, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	has, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	return err == nil && has&seals == seals
}

// sealedCopy copies this program into memory.
func sealedCopy() (fd int, err error) {
	from, err := os.Open(self)
	if err != nil {
		return -1, err
	}
	defer from.Close()
	if fd, err = unix.MemfdCreate("skiff", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		return -1, fmt.Errorf("make a file in memory: %w", err)
	}
	for n := 1; n > 0 && err == nil; {
		n, err = unix.Sendfile(fd, int(from.Fd()), nil, 1<<30)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	return fd, err
}
