// Package state keeps a container's folder on the host: its journal lies in
// it, and a lock on the folder says whether the container's runtime lives.
//
//	/run/skiff-stage03/      where a runtime keeps its containers
//	    web/                 one of them; locked while its runtime runs: flock(2)
//	        journal          what it leaves on the host
//
// The kernel drops the lock when its holder ends, in whatever way. So a folder
// that nobody has locked is what a killed runtime has left, and whoever locks
// it next may undo its journal. A pid in a file could not say that: by now the
// pid may be another process's.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// A Folder is the folder of one container, locked.
type Folder struct {
	Path    string // absolute
	Journal *journal.Journal

	lock     *os.File
	undoers  journal.Undoers
	leftover []journal.Entry
}

// Open makes the folder of the container called name below dir, an absolute
// path, and locks it. If a killed runtime has left one of this name, what its
// journal holds is undone first; undoers say how. That a runtime with this
// name is alive is an error that is EBUSY. Both folders are closed to other
// users (CVE-2021-41103).
func Open(dir, name string, undoers journal.Undoers) (*Folder, error) {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return nil, fmt.Errorf("container name %q: %w: must be a file name", name, unix.EINVAL)
	}
	if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of container %q: %w", name, err)
	}
	f, err := take(dir, name, undoers)
	if err != nil {
		return nil, err
	}
	// Undo has closed and removed the journal: the container starts a new one.
	if f.Journal, err = journal.Open(f.file()); err != nil {
		return nil, errors.Join(err, f.lock.Close())
	}
	return f, nil
}

// take locks a folder and undoes what it has left over.
func take(dir, name string, undoers journal.Undoers) (*Folder, error) {
	f := &Folder{Path: filepath.Join(dir, name), undoers: undoers}
	var err error
	if f.lock, err = os.OpenFile(f.Path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		return nil, fmt.Errorf("open the folder of container %q: %w", name, err)
	}
	if err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			err = hint.Add(unix.EBUSY, "a container of this name is running; give this one another --name")
		}
		return nil, errors.Join(fmt.Errorf("lock container %q: %w", name, err), f.lock.Close())
	}
	// A folder that another process removed between the two calls above is
	// locked all right, but has no name any more: then this says ENOENT.
	if f.Journal, err = journal.Open(f.file()); err == nil {
		f.leftover = f.Journal.Entries()
		err = f.Journal.Undo(undoers)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("container %q: %w", name, err), f.lock.Close())
	}
	return f, nil
}

// file is where the journal is.
func (f *Folder) file() string { return filepath.Join(f.Path, "journal") }

// Close undoes what is in the journal, removes the folder and lets go of it.
// What could not be undone stays, with the folder, for whoever comes next.
func (f *Folder) Close() error {
	if err := f.Journal.Undo(f.undoers); err != nil {
		return errors.Join(err, f.Journal.Close(), f.lock.Close())
	}
	return errors.Join(f.remove(), f.lock.Close())
}

// remove removes the folder, and the one above it if that is empty now.
func (f *Folder) remove() error {
	if err := os.Remove(f.Path); err != nil {
		return fmt.Errorf("remove the folder of a container: %w", err)
	}
	err := os.Remove(filepath.Dir(f.Path))
	if err == nil || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("remove the folder of all containers: %w", err)
}

// Collect undoes the journals of all containers below dir whose runtime was
// killed, and calls each with what was undone. Those whose runtime lives are
// left alone. It goes on after a failure and returns all errors, joined.
func Collect(dir string, undoers journal.Undoers, each func(name string, undone []journal.Entry)) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var failed []error
	for _, entry := range names {
		f, err := take(dir, entry.Name(), undoers)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, fs.ErrNotExist) {
			continue // it runs, or has just ended
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		each(entry.Name(), f.leftover)
		failed = append(failed, f.remove(), f.lock.Close())
	}
	return errors.Join(failed...)
}
