// Package state keeps a container's folder on the host: its journal lies in
// it, and a lock on the folder says whether the container's runtime lives.
//
//	/run/skiff-stage03/      where a runtime keeps its containers; locked while a
//	                         folder in it is made or removed
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
	if err := checkName(name); err != nil {
		return nil, err
	}
	all, err := lockAll(dir)
	if err != nil {
		return nil, err
	}
	defer all.Close()
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

// checkName refuses what would be a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return fmt.Errorf("container name %q: %w: must be a file name", name, unix.EINVAL)
	}
	return nil
}

// lockAll makes dir and locks it, for the moments in which folders of containers
// come and go. It waits for whoever has it. Without it, a folder could be
// removed between the making of it and its lock, and a runtime that starts could
// take one that looks after a dead container for one that is alive.
func lockAll(dir string) (*os.File, error) {
	const tries = 1000
	for i := 0; ; i++ {
		lock, err := openAll(dir)
		if vanished := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist); vanished && i < tries {
			continue // the last container in there has just ended
		}
		if err != nil {
			return nil, fmt.Errorf("make the folder of all containers: %w", err)
		}
		if err := flock(lock, unix.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("lock the folder of all containers: %w", err), lock.Close())
		}
		ours, err := lock.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look at the folder of all containers: %w", err), lock.Close())
		}
		if named, err := os.Stat(dir); err == nil && os.SameFile(ours, named) {
			return lock, nil
		}
		lock.Close() // removed while this waited: it has no name any more
	}
}

// openAll makes and opens dir. That it is not there, or that it is (os.MkdirAll
// asks twice), may be because others make and remove it all the time.
func openAll(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(dir, unix.O_DIRECTORY, 0)
}

// flock locks an open directory. A signal that interrupts it, as the Go
// runtime sends them to itself, is no reason to give up.
func flock(dir *os.File, how int) error {
	for {
		if err := unix.Flock(int(dir.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// take locks a folder and undoes what it has left over. The caller holds the
// lock of all.
func take(dir, name string, undoers journal.Undoers) (*Folder, error) {
	f := &Folder{Path: filepath.Join(dir, name), undoers: undoers}
	var err error
	if f.lock, err = os.OpenFile(f.Path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		return nil, fmt.Errorf("open the folder of container %q: %w", name, err)
	}
	if err := flock(f.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			err = hint.Add(unix.EBUSY, "a container of this name is running; give this one another --name")
		}
		return nil, errors.Join(fmt.Errorf("lock container %q: %w", name, err), f.lock.Close())
	}
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
	all, err := lockAll(filepath.Dir(f.Path))
	if err != nil {
		return errors.Join(err, f.lock.Close())
	}
	return errors.Join(f.remove(), all.Close())
}

// remove removes the folder, and the one above it if that is empty now. The
// caller holds the lock of all.
func (f *Folder) remove() error {
	defer f.lock.Close()
	if err := os.Remove(f.Path); err != nil {
		return fmt.Errorf("remove the folder of a container: %w", err)
	}
	err := os.Remove(filepath.Dir(f.Path))
	if err == nil || errors.Is(err, unix.ENOTEMPTY) {
		return nil
	}
	return fmt.Errorf("remove the folder of all containers: %w", err)
}

// Collect undoes the journals of all containers below dir whose runtime was
// killed, and calls each with what was undone. Those whose runtime lives are
// left alone. It goes on after a failure and returns all errors, joined.
func Collect(dir string, undoers journal.Undoers, each func(name string, undone []journal.Entry)) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	all, err := lockAll(dir)
	if err != nil {
		return err
	}
	defer all.Close()
	names, err := Names(dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		f, err := take(dir, name, undoers)
		if errors.Is(err, unix.EBUSY) {
			continue // it runs
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		each(name, f.leftover)
		failed = append(failed, f.remove())
	}
	if len(names) == 0 { // a runtime was killed before it made the folder of its container
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("remove the folder of all containers: %w", err))
		}
	}
	return errors.Join(failed...)
}

// Names are the containers below dir, those that run and those whose runtime was
// killed, in the order of the alphabet.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// Find is an error that is ENOENT unless there is a container called name below
// dir. It takes no lock and disturbs nobody: whether the container runs is for
// its processes to say.
func Find(dir, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = unix.ENOENT
		}
		return fmt.Errorf("find container %q: %w", name, err)
	}
	return nil
}
