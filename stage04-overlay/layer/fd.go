// fd.go: small helpers around descriptors.
//
// A descriptor opened with O_PATH stands for a file without opening it: of a
// fifo or a device nothing happens, and of a symbolic link it is the link
// itself. Calls that do not take such a descriptor take its name in
// /proc/self/fd, which the kernel follows straight to that file and no further
// (man 2 open, O_PATH; man 5 proc_pid_fd).

package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// procPath is a name for an open file.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// openDir opens the directory that name is in dir; a symbolic link is not
// followed (ENOTDIR).
func openDir(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// openPath takes hold of whatever name is in dir.
func openPath(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// openBelow opens a directory several levels below dir in one call. A symbolic
// link anywhere on the way is ELOOP, and ".." above dir is EXDEV (man 2 openat2).
func openBelow(dir int, path string) (int, error) {
	return unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// readlink is the target of the symbolic link that fd holds; size is its
// st_size, which some file systems give as 0.
func readlink(fd int, size int64) (string, error) {
	buf := make([]byte, max(size+1, unix.PathMax))
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", fmt.Errorf("read symbolic link: %w", err)
	}
	return string(buf[:n]), nil
}

// xattrs are all extended attributes of an open file, sorted by name.
func xattrs(fd int) ([]xattr, error) {
	path := procPath(fd)
	names, err := sized(func(buf []byte) (int, error) { return unix.Listxattr(path, buf) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listxattr: %w", err)
	}
	var list []xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		value, err := sized(func(buf []byte) (int, error) { return unix.Getxattr(path, name, buf) })
		if err != nil {
			return nil, fmt.Errorf("getxattr %q: %w", name, err)
		}
		list = append(list, xattr{name, value})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list, nil
}

// xattrError says which attribute it was, and the usual cause.
func xattrError(call, name string, err error) error {
	failed := fmt.Errorf("%s %q: %w", call, name, err)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return hint.Add(failed, "the file system that layers are kept on must have extended attributes: ext4, xfs, btrfs; tmpfs since Linux 6.6")
	}
	return failed
}

// clearXattrs removes the extended attributes that a file or directory has so
// far and that setOwner would not overwrite.
func clearXattrs(fd int) error {
	list, err := xattrs(fd)
	if err != nil {
		return err
	}
	for _, x := range list {
		if !portable(x.name) {
			continue
		}
		if err := unix.Removexattr(procPath(fd), x.name); err != nil {
			return fmt.Errorf("removexattr %q: %w", x.name, err)
		}
	}
	return nil
}

// sized calls a system call that fills a buffer, first to learn the size.
func sized(call func([]byte) (int, error)) (string, error) {
	for {
		n, err := call(nil)
		if err != nil || n == 0 {
			return "", err
		}
		buf := make([]byte, n)
		n, err = call(buf)
		if errors.Is(err, unix.ERANGE) { // it has grown in between
			continue
		}
		if err != nil {
			return "", err
		}
		return string(buf[:n]), nil
	}
}

// copyContent writes the next size bytes of r to the new file fd. With holes,
// stretches of zeros are left out, so that a sparse file stays sparse; the
// buffer's length is the unit of both.
func copyContent(fd int, r io.Reader, size int64, buf []byte, holes bool) error {
	for at := int64(0); at < size; {
		chunk := buf[:min(size-at, int64(len(buf)))]
		if _, err := io.ReadFull(r, chunk); err != nil {
			return fmt.Errorf("read content: %w", noEOF(err))
		}
		if !holes || !zero(chunk) {
			if err := pwrite(fd, chunk, at); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		at += int64(len(chunk))
	}
	if !holes {
		return nil
	}
	if err := unix.Ftruncate(fd, size); err != nil { // the end may be a hole
		return fmt.Errorf("truncate to %d bytes: %w", size, err)
	}
	return nil
}

// noEOF makes the end of input an error: here it always comes too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// zero says whether b, which is not empty, holds only zeros: whether its first
// byte is one, and each other byte equals the one before it.
func zero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// pwrite writes all of b at the offset.
func pwrite(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}
