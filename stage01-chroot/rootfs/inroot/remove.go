package inroot

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Removing a tree that somebody else designed. It may be deeper than this
// process can have descriptors, or than a path can be long, so neither a
// descriptor for each level nor a path will do: unlink(2), openat2(2).

// maxDepth is how deep the removal goes down before it moves what is deeper up
// to the top, with rename(2), where it is met again later.
const maxDepth = 64

// RemoveAll removes base and, if it is a directory, all that is below it.
// Links are removed, not followed. What is not there is no error. A mount in
// the tree stops it, before anything of the mount is touched: EXDEV, or EBUSY.
// The root itself (".") cannot be removed: EINVAL.
func RemoveAll(dir *os.File, base string) error {
	if base == "." {
		return fmt.Errorf("remove %q: %w", base, unix.EINVAL)
	}
	r := remover{}
	if err := r.remove(int(dir.Fd()), base, 0); err != nil {
		return fmt.Errorf("remove %q: %w", base, err)
	}
	return nil
}

type remover struct {
	top   int // descriptor of the tree's uppermost directory
	moved int // how many directories were moved there
}

// remove removes one thing, whatever it is.
func (r *remover) remove(parent int, name string, depth int) error {
	err := unix.Unlinkat(parent, name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	if depth >= maxDepth {
		return r.moveUp(parent, name)
	}
	if err := r.empty(parent, name, depth); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}

// empty removes all that is in a directory. Removing while reading may skip
// names, so it is read again from the start until it has none.
func (r *remover) empty(parent int, name string, depth int) error {
	fd, err := unix.Openat2(parent, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	if depth == 0 {
		r.top = fd
	}
	const batch = 1024
	for {
		names, err := dir.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range names {
			if err := r.remove(fd, entry, depth+1); err != nil {
				return err
			}
		}
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// moveUp makes a deep directory an entry of the uppermost one, under a name
// that is free there.
func (r *remover) moveUp(parent int, name string) error {
	for {
		r.moved++
		free := fmt.Sprintf("deep-%d", r.moved)
		err := unix.Renameat2(parent, name, r.top, free, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}
