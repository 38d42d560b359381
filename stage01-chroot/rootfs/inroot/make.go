package inroot

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Making one thing in a directory. dir and base are what Parent returned. None
// of these calls follows a link, and none replaces what is there: they fail
// with EEXIST, and the caller decides (RemoveAll). Modes are set exactly as
// given, whatever the umask.

// Create makes an empty regular file and opens it for writing. perm are the
// permission bits as in chmod(2), with set-user-ID, set-group-ID and sticky.
func Create(dir *os.File, base string, perm uint32) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), base, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", base, err)
	}
	file := os.NewFile(uintptr(fd), base)
	if err := unix.Fchmod(fd, perm); err != nil {
		file.Close()
		return nil, fmt.Errorf("set mode %04o of %q: %w", perm, base, err)
	}
	return file, nil
}

// Mkdir makes a directory with exactly these permission bits.
func Mkdir(dir *os.File, base string, perm uint32) error {
	if err := unix.Mkdirat(int(dir.Fd()), base, 0o700); err != nil {
		return fmt.Errorf("make directory %q: %w", base, err)
	}
	return Chmod(dir, base, perm)
}

// Symlink makes a symbolic link with any text: where it leads is decided only
// when it is followed, and then inside the root.
func Symlink(dir *os.File, base, text string) error {
	if err := unix.Symlinkat(text, int(dir.Fd()), base); err != nil {
		return fmt.Errorf("make symbolic link %q to %q: %w", base, text, err)
	}
	return nil
}

// Link makes a hard link to the file that old is in the root. Links on the way
// to old are followed inside the root, a link at its end is linked itself. A
// missing parent of old is an error here, and a directory cannot be linked.
func (r *Root) Link(dir *os.File, base, old string) error {
	parent, name := split(old)
	fd, err := lookup.Openat2(r.dir, parent, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("make hard link %q to %q: open its parent: %w", base, old, err)
	}
	defer unix.Close(fd)
	if err := unix.Linkat(fd, name, int(dir.Fd()), base, 0); err != nil {
		return fmt.Errorf("make hard link %q to %q: %w", base, old, err)
	}
	return nil
}

// Mknod makes a device, a FIFO or a socket. mode is the type (unix.S_IFCHR,
// S_IFBLK, S_IFIFO, S_IFSOCK) and the permission bits; device is unix.Mkdev's
// number for the first two. A device needs CAP_MKNOD: EPERM.
func Mknod(dir *os.File, base string, mode uint32, device uint64) error {
	if err := unix.Mknodat(int(dir.Fd()), base, mode&^0o7777, int(device)); err != nil {
		return fmt.Errorf("make node %q: %w", base, err)
	}
	return Chmod(dir, base, mode&0o7777)
}

// Chmod sets permission bits. A link has none: EOPNOTSUPP.
func Chmod(dir *os.File, base string, perm uint32) error {
	err := withPath(dir, base, func(path string) error { return unix.Chmod(path, perm) })
	if err != nil {
		return fmt.Errorf("set mode %04o of %q: %w", perm, base, err)
	}
	return nil
}

// Chown sets owner and group, of a link too. It clears set-user-ID and
// set-group-ID, so call it before Chmod: chown(2).
func Chown(dir *os.File, base string, uid, gid int) error {
	if err := unix.Fchownat(int(dir.Fd()), base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set owner %d:%d of %q: %w", uid, gid, base, err)
	}
	return nil
}

// Chtimes sets the time of last modification, and of last access to the same,
// to the nanosecond.
func Chtimes(dir *os.File, base string, modified time.Time) error {
	t, err := unix.TimeToTimespec(modified)
	if err != nil {
		return fmt.Errorf("set times of %q: %w", base, err)
	}
	if err := unix.UtimesNanoAt(int(dir.Fd()), base, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times of %q: %w", base, err)
	}
	return nil
}

// Setxattr sets an extended attribute, such as "security.capability":
// xattr(7). Some kinds need privileges, and a link cannot have all kinds.
func Setxattr(dir *os.File, base, name string, value []byte) error {
	err := withPath(dir, base, func(path string) error { return unix.Setxattr(path, name, value, 0) })
	if err != nil {
		return fmt.Errorf("set attribute %q of %q: %w", name, base, err)
	}
	return nil
}

// withPath calls with a path that leads to base itself and nowhere else, for
// system calls that take a path only and would follow a link.
func withPath(dir *os.File, base string, call func(path string) error) error {
	handle, err := Handle(dir, base)
	if err != nil {
		return err
	}
	defer handle.Close()
	return call(procPath(int(handle.Fd())))
}

// Stat tells what base is, without following it: the type is Mode&S_IFMT.
func Stat(dir *os.File, base string) (unix.Stat_t, error) {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return stat, fmt.Errorf("stat %q: %w", base, err)
	}
	return stat, nil
}
