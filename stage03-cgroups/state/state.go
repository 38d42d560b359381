// Package state keeps a container's folder on the host: its journal lies in
// it, and a lock on the folder says whether the container's runtime lives.
//
//	/run/skiff-stage03/      where a runtime keeps its containers; locked while a
//	                         folder in it is made or removed
//	    web/                 one of them; locked while its runtime runs: flock(2)
//	        journal          what it leaves on the host
//
// A journal says what to kill and to remove as root. So both folders must be
// this user's and closed to others, and those that are made here have a mark from
// birth: the sticky bit, which means nothing where only the owner may write
// (inode(7)). What has no mark is neither undone nor removed: whoever says --state
// /home by mistake loses nothing.
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
	"strings"
	"unicode"
	"unicode/utf8"

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
// users (CVE-2021-41103); a dir that is another user's, or not closed, is an
// error that is EPERM. [Folder.Path] is without symbolic links.
func Open(dir, name string, undoers journal.Undoers) (*Folder, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	dir, err := Resolve(dir)
	if err != nil {
		return nil, fmt.Errorf("find the folder of all containers: %w", err)
	}
	all, err := lockAll(dir)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := unix.Mkdir(filepath.Join(dir, name), marked); err != nil && err != unix.EEXIST {
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

// longest is how long a name may be, in bytes. Files have 255 for theirs, and what
// belongs to a container is named after it.
const longest = 200

// checkName refuses what would be a path, and what a terminal or a journal would
// not show as it is.
func checkName(name string) error {
	wrong := ""
	switch {
	case name == "" || name == "." || name == ".." || filepath.Base(name) != name:
		wrong = "must be a file name"
	case len(name) > longest:
		wrong = fmt.Sprintf("must have at most %d bytes", longest)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		wrong = "must be text, without control characters"
	default:
		return nil
	}
	return fmt.Errorf("container name %q: %w: %s", name, unix.EINVAL, wrong)
}

// Resolve returns the name that dir, an absolute path, has without symbolic
// links: with two names it would be two folders. Its end need not exist.
func Resolve(dir string) (string, error) {
	resolved, err := filepath.EvalSymlinks(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return resolved, err
	}
	parent, err := Resolve(filepath.Dir(dir))
	return filepath.Join(parent, filepath.Base(dir)), err
}

// marked is the mode of the folders made here: their owner's alone, and with the
// mark.
const marked = unix.S_ISVTX | 0o700

// ours tells whether a folder is this user's and closed to all others, and
// whether it has the mark.
func ours(folder *os.File) (closed, mark bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &st); err != nil {
		return false, false, fmt.Errorf("look at folder %q: %w", folder.Name(), err)
	}
	closed = int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0
	return closed, closed && st.Mode&unix.S_ISVTX != 0, nil
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
		if err := private(lock); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if err := flock(lock, unix.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("lock the folder of all containers: %w", err), lock.Close())
		}
		locked, err := lock.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("look at the folder of all containers: %w", err), lock.Close())
		}
		if named, err := os.Stat(dir); err == nil && os.SameFile(locked, named) {
			return lock, nil
		}
		lock.Close() // removed while this waited: it has no name any more
	}
}

// private is an error unless the folder of all containers is closed to others:
// who may write there says what root undoes.
func private(dir *os.File) error {
	closed, _, err := ours(dir)
	if err != nil || closed {
		return err
	}
	err = fmt.Errorf("folder of all containers %q: %w: it must be this user's, and closed to all others", dir.Name(), unix.EPERM)
	return hint.Add(err, "give a folder that is not there yet, or one with: chmod 700, chown root")
}

// openAll makes and opens dir. That it is not there, or that it is (os.MkdirAll
// asks twice), may be because others make and remove it all the time.
func openAll(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mkdir(dir, marked); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("mkdir %q: %w", dir, err)
	}
	return os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
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
	if _, mark, err := ours(f.lock); err != nil || !mark {
		if err == nil {
			err = fmt.Errorf("folder %q: %w: it is not one of a container", f.Path, unix.EEXIST)
		}
		return nil, errors.Join(err, f.lock.Close())
	}
	if err := flock(f.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			err = hint.Add(unix.EBUSY, "a container of this name is running; give this one another name")
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
	return errors.Join(f.remove(all), all.Close())
}

// remove removes the folder, and the one above it if that is empty now. all is
// that one, locked.
func (f *Folder) remove(all *os.File) error {
	defer f.lock.Close()
	if err := unix.Rmdir(f.Path); err != nil { // os.Remove would take a link as well
		return fmt.Errorf("remove the folder of container %q: %w", filepath.Base(f.Path), err)
	}
	return removeAll(all)
}

// removeAll removes the folder of all containers, unless there are some, or it
// was there before there were any.
func removeAll(all *os.File) error {
	if _, mark, err := ours(all); err != nil || !mark {
		return err
	}
	if err := unix.Rmdir(all.Name()); err != nil && err != unix.ENOTEMPTY && err != unix.ENOENT {
		return fmt.Errorf("remove the folder of all containers: %w", err)
	}
	return nil
}

// Collect undoes the journals of all containers below dir whose runtime was
// killed, and calls each with what was undone. Those whose runtime lives are
// left alone. It goes on after a failure and returns all errors, joined.
func Collect(dir string, undoers journal.Undoers, each func(name string, undone []journal.Entry)) error {
	dir, err := Resolve(dir)
	if err != nil {
		return fmt.Errorf("find the folder of all containers: %w", err)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
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
		failed = append(failed, f.remove(all))
	}
	if len(names) == 0 { // a runtime was killed before it made the folder of its container
		failed = append(failed, removeAll(all))
	}
	return errors.Join(failed...)
}

// Names are the containers below dir, those that run and those whose runtime was
// killed, in the order of the alphabet. What has not the mark is none of them.
func Names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var names []string
	for _, entry := range entries {
		err := Find(dir, entry.Name())
		if err == nil {
			names = append(names, entry.Name())
		} else if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
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
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(dir, name), &st)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&unix.S_ISVTX == 0) {
		err = unix.ENOENT // it is there, and no container
	}
	if err != nil {
		return fmt.Errorf("find container %q: %w", name, err)
	}
	return nil
}
