// Undoers for what every stage leaves in the file system: a directory, a
// folder with all that is in it, a mount. They run as root on paths from a
// file, so each refuses what no journal would ever say, and follows no link,
// neither at the end of the path nor on the way there: openat2(2)
// RESOLVE_NO_SYMLINKS. What a path meant when it was recorded it means now.

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Files returns the undoers for directories and mounts. Each takes any number
// of absolute paths and treats the last one first:
//
//	rmdir       an empty directory
//	remove-all  a file, or a directory with everything in it
//	umount      what is mounted on the path, even if it is busy
func Files() Undoers {
	return Undoers{
		"rmdir":      backward(rmdir),
		"remove-all": backward(removeAll),
		"umount":     backward(umount),
	}
}

// backward makes an undoer of a function that undoes one path.
func backward(undo func(path string) error) func([]string) error {
	return func(paths []string) error {
		var failed []error
		for _, path := range slices.Backward(paths) {
			failed = append(failed, undo(path))
		}
		return errors.Join(failed...)
	}
}

// check refuses a path that would mean another thing in another working
// directory, or the whole file system, or that is not in its shortest form.
func check(operation, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("%s %q: %w: need a clean absolute path below /", operation, path, unix.EINVAL)
	}
	return nil
}

// inParent checks path and calls undo with the folder that path is in. That
// this one is not there is a success.
func inParent(operation, path string, undo func(parent int) error) error {
	if err := check(operation, path); err != nil {
		return err
	}
	parent, err := unix.Openat2(unix.AT_FDCWD, filepath.Dir(path), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		err := fmt.Errorf("%s %q: open its parent: %w", operation, path, err)
		if errors.Is(err, unix.ELOOP) {
			return hint.Add(err, "a symbolic link is on the way there, and may lead anywhere by now: look, and remove by hand what was meant")
		}
		return err
	}
	defer unix.Close(parent)
	return undo(parent)
}

func rmdir(path string) error {
	return inParent("rmdir", path, func(parent int) error {
		err := unix.Unlinkat(parent, filepath.Base(path), unix.AT_REMOVEDIR)
		if err != nil && err != unix.ENOENT {
			return fmt.Errorf("rmdir %q: %w", path, err)
		}
		return nil
	})
}

// umount detaches the mount at once (MNT_DETACH): a process that still has a
// file open there keeps that file, but nobody finds the mount any more.
// EINVAL is how umount2(2) says "not a mount point". It takes no descriptor, but
// a path through one, which proc(5) makes lead to the very mount.
func umount(path string) error {
	return inParent("umount", path, func(parent int) error {
		fd, err := unix.Openat(parent, filepath.Base(path), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", fd), unix.MNT_DETACH)
			unix.Close(fd)
		}
		if err == nil || err == unix.EINVAL || err == unix.ENOENT {
			return nil
		}
		return fmt.Errorf("umount %q: %w", path, err)
	})
}

// RemoveAll removes path and everything below it. path is absolute and clean;
// "/" is refused. A path that does not exist is a success.
//
// Unlike os.RemoveAll it never enters another mount: while an overlay is still
// mounted in a state folder, emptying it would delete a container's files, or
// with a bind mount the host's. Such a mount is an error (EXDEV), and what is
// in it stays. Unlike a check of strings, this also holds against a symbolic
// link or a mount that appears meanwhile: each directory is opened relative to
// the descriptor of its parent.
//
// It holds one descriptor for each level of depth, so RLIMIT_NOFILE bounds how
// deep a tree it can remove.
//
// A link on the way to path is followed: who calls this says where he means now.
// A journal said so once, and its undoer follows none.
func RemoveAll(path string) error {
	if err := check("remove", path); err != nil {
		return err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return removeAll(filepath.Join(parent, filepath.Base(path)))
}

// removeAll is RemoveAll for a path from a journal.
func removeAll(path string) error {
	return inParent("remove", path, func(parent int) error { return removeAt(parent, path) })
}

// removeAt removes the last element of path, whose parent directory is open as
// parent. The other elements of path only serve the error message.
func removeAt(parent int, path string) error {
	name := filepath.Base(path)
	err := unix.Unlinkat(parent, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	if err := empty(parent, path); err != nil {
		return err
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return nil
}

// openBelow opens a directory, and neither a link nor another mount.
func openBelow(parent int, name string, flags uint64) (int, error) {
	return unix.Openat2(parent, name, &unix.OpenHow{
		Flags:   flags | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS,
	})
}

// openUp gives the owner of a directory all rights on it.
func openUp(parent int, name string) error {
	fd, err := openBelow(parent, name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// fchmod(2) takes no O_PATH descriptor.
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
}

// empty removes everything in the directory path, whose parent is open.
func empty(parent int, path string) error {
	fd, err := openBelow(parent, filepath.Base(path), unix.O_RDONLY)
	if err == unix.EACCES {
		// Who is not root cannot empty a directory of his that is closed to all,
		// as that is in which overlayfs works (chapter 4).
		if err = openUp(parent, filepath.Base(path)); err == nil {
			fd, err = openBelow(parent, filepath.Base(path), unix.O_RDONLY)
		}
	}
	if err == unix.ENOENT {
		return nil
	}
	if err == unix.EXDEV {
		err := fmt.Errorf("remove %q: is a mount point: %w", path, err)
		return hint.Add(err, fmt.Sprintf("unmount it first: umount %q", path))
	}
	if err != nil {
		return fmt.Errorf("remove %q: open: %w", path, err)
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("remove %q: read directory: %w", path, hint.Reason(err))
	}
	var failed []error
	for _, name := range names {
		failed = append(failed, removeAt(fd, filepath.Join(path, name)))
	}
	return errors.Join(failed...)
}
