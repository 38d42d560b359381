package inroot

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Reading one thing in a directory, the counterpart of make.go. It is opened
// once with O_PATH, which follows no link, wakes no device and waits on no FIFO:
// open(2). All that is read of it then comes through this handle, so it is all
// of the same file, also when somebody swaps it for another meanwhile.

// Handle opens base itself, whatever it is. The caller closes it.
func Handle(dir *os.File, base string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", base, err)
	}
	return os.NewFile(uintptr(fd), base), nil
}

// procPath leads to what a descriptor stands for, and nowhere else: the link
// that proc(5) has for it is followed to the file, not to a name, and a file
// that is a link itself is not followed further.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Reopen opens the file of a handle with the flags of open(2); O_CLOEXEC is
// added. Permissions are checked now: EACCES.
func Reopen(handle *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(procPath(int(handle.Fd())), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", handle.Name(), err)
	}
	return os.NewFile(uintptr(fd), handle.Name()), nil
}

// Readlink returns the text of a link's handle; of another file's: ENOENT.
func Readlink(handle *os.File) (string, error) {
	text, err := readlink(int(handle.Fd()), "")
	if err != nil {
		return "", fmt.Errorf("read link %q: %w", handle.Name(), err)
	}
	return text, nil
}

// Statx tells what a handle is: statx(2), basic fields. A place where something
// is mounted has STATX_ATTR_MOUNT_ROOT among its attributes; nothing is mounted
// by looking at it.
func Statx(handle *os.File) (unix.Statx_t, error) {
	var stat unix.Statx_t
	flags := unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(int(handle.Fd()), "", flags, unix.STATX_BASIC_STATS, &stat); err != nil {
		return stat, fmt.Errorf("stat %q: %w", handle.Name(), err)
	}
	return stat, nil
}

// Xattrs returns the extended attributes of a handle's file, as far as the
// caller may see them: xattr(7). A file system without any has none.
func Xattrs(handle *os.File) (map[string]string, error) {
	path := procPath(int(handle.Fd()))
	list, err := grow(func(buffer []byte) (int, error) { return unix.Listxattr(path, buffer) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes of %q: %w", handle.Name(), err)
	}
	xattrs := map[string]string{}
	for name := range bytes.SplitSeq(list, []byte{0}) {
		if len(name) == 0 {
			continue // behind the last one
		}
		value, err := grow(func(buffer []byte) (int, error) { return unix.Getxattr(path, string(name), buffer) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read attribute %q of %q: %w", name, handle.Name(), err)
		}
		xattrs[string(name)] = string(value)
	}
	return xattrs, nil
}

// grow calls with a larger buffer until it is large enough (ERANGE). The kernel
// allows 64 KiB each for the list and for a value: XATTR_SIZE_MAX.
func grow(read func(buffer []byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 16 {
		buffer := make([]byte, size)
		n, err := read(buffer)
		if err == nil {
			return buffer[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 1<<16 {
			return nil, err
		}
	}
}
