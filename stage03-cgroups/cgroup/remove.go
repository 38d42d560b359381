// Ending a group. rmdir(2) removes one without processes and without groups
// below it. What is still inside is killed: v2 does that in one stroke, forks
// in flight included (cgroup.kill, Linux 5.14); in v1 the pids are read and
// signalled until none is left. A killed process leaves its group a little
// later, when it gets to exit, so all of this is tried again, within a bound.

package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// removeTimeout bounds how long a group's processes may take to exit.
const removeTimeout = 10 * time.Second

// The kinds of journal entry that Create writes.
const (
	undoGroup   = "cgroup"
	undoParents = "cgroup-parents"
)

// Undoers returns the undoers for what Create records.
func Undoers() journal.Undoers {
	return journal.Undoers{undoGroup: Undo, undoParents: UndoParents}
}

// Undo undoes the journal entry "cgroup": dirs are the directories of one
// group, one in each hierarchy. It thaws them, kills what is in them and in the
// groups below, and removes them all. A directory that is not there is fine;
// one that is not a group, or the root of a hierarchy, is refused.
func Undo(dirs []string) error {
	return remove(dirs)
}

// UndoParents undoes the journal entry "cgroup-parents": dirs are the groups
// that were made above a container's own, the deepest first. They are removed
// if nothing is in them: other containers may have come to live there.
func UndoParents(dirs []string) error {
	var failed []error
	for _, dir := range dirs {
		switch err := unix.Rmdir(dir); err {
		case nil, unix.ENOENT, unix.EBUSY, unix.ENOTEMPTY:
		default:
			failed = append(failed, fmt.Errorf("cgroup: rmdir %q: %w", dir, err))
		}
	}
	return errors.Join(failed...)
}

// Delete thaws the group, kills what is in it, and removes it in every
// hierarchy: all that Create made, or, if this Manager did not create it, the
// group itself. A group that does not exist is fine.
func (m *Manager) Delete() error {
	dirs := m.made
	if !m.created {
		dirs = m.dirs()
	}
	if err := remove(dirs); err != nil {
		return err
	}
	return UndoParents(m.parents)
}

// Processes returns the pids of the processes in the group and the groups
// below it, in ascending order, as the caller's pid namespace knows them.
func (m *Manager) Processes() ([]int, error) {
	var all []int
	for _, dir := range m.dirs() {
		pids, err := processes(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Kill thaws the group and sends SIGKILL to every process in it and in the
// groups below it. It does not wait for them to end. In v1 the group cannot
// fork any more afterwards: a fork bomb would outrun the signals.
func (m *Manager) Kill() error {
	return kill(m.dirs())
}

// remove removes the groups dirs with all that is in them.
func remove(dirs []string) error {
	deadline := time.Now().Add(removeTimeout)
	left, err := rmdir(dirs) // mostly all have ended already, and this is all
	for pause := 100 * time.Microsecond; err == nil && len(left) > 0; pause = min(2*pause, 20*time.Millisecond) {
		if err := kill(left); err != nil {
			return err
		}
		if left, err = rmdir(left); err != nil || len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return stubborn(left[0])
		}
		time.Sleep(pause)
	}
	return err
}

// rmdir removes the groups dirs and those below them, and returns those in
// which there is still somebody.
func rmdir(dirs []string) (busy []string, err error) {
	for _, dir := range dirs {
		err := unix.Rmdir(dir)
		if err == unix.EBUSY || err == unix.ENOTEMPTY {
			if err := own(dir); err != nil {
				return nil, err
			}
			err = rmdirTree(dir)
		}
		switch err {
		case nil, unix.ENOENT:
		case unix.EBUSY, unix.ENOTEMPTY:
			busy = append(busy, dir)
		default:
			return nil, fmt.Errorf("cgroup: rmdir %q: %w", dir, err)
		}
	}
	return busy, nil
}

// own refuses a directory in which nobody may be killed: one that is not in a
// cgroup file system, and the root of one, which holds every process there is.
func own(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return fmt.Errorf("cgroup: statfs %q: %w", dir, err)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return fmt.Errorf("cgroup: statx %q: %w", dir, err)
	}
	group := fs.Type == unix.CGROUP_SUPER_MAGIC || fs.Type == unix.CGROUP2_SUPER_MAGIC
	if !group || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || !path.IsAbs(dir) {
		return invalid("remove %q: not a group below the root of a hierarchy", dir)
	}
	return nil
}

// rmdirTree removes dir and the groups below it, the deepest first. Its error
// is that of dir itself.
func rmdirTree(dir string) error {
	var below []string
	if err := walk(dir, func(d string) error { below = append(below, d); return nil }); err != nil {
		return err
	}
	err := error(unix.ENOENT)
	for _, d := range slices.Backward(below) {
		err = unix.Rmdir(d)
	}
	return err
}

// kill sends SIGKILL to all that is in the groups dirs and those below them.
func kill(dirs []string) error {
	for _, dir := range dirs {
		if err := thawTree(dir); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		file, value := "cgroup.kill", "1"
		if !exists(dir, file) {
			file, value = "pids.max", "0"
		}
		if !exists(dir, file) {
			continue
		}
		if err := write(dir, file, value); err != nil && !errNotThere(err) {
			return err
		}
	}
	for _, dir := range dirs {
		pids, err := processes(dir)
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
				return fmt.Errorf("cgroup: kill process %d of %q: %w", pid, dir, err)
			}
		}
	}
	return nil
}

// processes returns the pids in dir and the groups below it. A group that is
// not there has none.
func processes(dir string) ([]int, error) {
	var pids []int
	err := walk(dir, func(dir string) error {
		text, err := readAll(dir + "/cgroup.procs")
		switch {
		case errNotThere(err), err == unix.EOPNOTSUPP: // gone; or threaded, and listed above
			return nil
		case err != nil:
			return fmt.Errorf("cgroup: read %q: %w", dir+"/cgroup.procs", err)
		}
		for _, word := range strings.Fields(text) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return fmt.Errorf("cgroup: read %q: %w", dir+"/cgroup.procs", err)
			}
			if pid != 0 { // 0: not in our pid namespace, and kill(0) is our own process group
				pids = append(pids, pid)
			}
		}
		return nil
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// stubborn is the error for a group that outlived removeTimeout.
func stubborn(dir string) error {
	err := fmt.Errorf("cgroup: remove %q: %w", dir, unix.EBUSY)
	pids, readErr := processes(dir)
	if readErr != nil || len(pids) == 0 {
		return err
	}
	return hint.Add(err, fmt.Sprintf("process %d was killed and has not ended: see /proc/%d/stack", pids[0], pids[0]))
}
