package rootfs

import (
	"errors"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// What is usually behind the kernel's reason when a tree is made: errno(3).

var usualCauses = []struct {
	errno unix.Errno
	cause string
}{
	{unix.ENAMETOOLONG, "Linux allows 255 bytes between two slashes, and 4095 in all"},
	{unix.ELOOP, "the links on the way lead in a circle"},
	{unix.ENOTDIR, "there is a file of that name already where a directory should be"},
	{unix.EISDIR, "what has this name must be a directory"},
	{unix.EEXIST, "something of that name is there already; choose an empty directory"},
	{unix.EACCES, "files have to be read and written; only root can do so with those of everyone"},
	{unix.ENOSPC, "the disk is full, of bytes (df) or of inodes (df -i)"},
	{unix.EBUSY, "something is mounted there"},
	{unix.EXDEV, "something is mounted there"},
}

// withCause adds a hint to an error that has none.
func withCause(err error) error {
	for _, usual := range usualCauses {
		if errors.Is(err, usual.errno) {
			return hint.Add(err, usual.cause)
		}
	}
	return err
}
