// Package lookup opens files of a directory tree that somebody else designed,
// and nothing outside it.
//
// A name is resolved by openat2(2), which treats the tree as chroot(2) would:
// "/" is its root, and neither ".." nor a link leaves it. Links that the kernel
// makes up (/proc/self/fd/3) jump anywhere, and are refused.
package lookup

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Root opens dir, which must be a directory, as a root (O_PATH). Links on the
// way to it are followed: this path is the caller's own.
func Root(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root %q: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// Open opens what name is in the root, following links inside it, with the
// flags of open(2); O_CLOEXEC is added. Errors: ENOENT, ENOTDIR, ELOOP and so
// on, as openat2(2) has them.
func Open(root *os.File, name string, flags int) (*os.File, error) {
	fd, err := Openat2(root, name, flags)
	if err != nil {
		return nil, fmt.Errorf("open %q in root: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Below is Open in the root dir.
func Below(dir, name string, flags int) (*os.File, error) {
	root, err := Root(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return Open(root, name, flags)
}

// Openat2 is Open with a bare descriptor, and with the kernel's error. While
// somebody renames directories in the tree the kernel may not be sure of a ".."
// and says EAGAIN: then it is asked again.
func Openat2(root *os.File, name string, flags int) (fd int, err error) {
	const attempts = 100
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range attempts {
		fd, err = unix.Openat2(int(root.Fd()), name, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}
