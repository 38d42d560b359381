// Ending a group. rmdir(2) removes one without processes and without groups
// below it. What is still inside is killed: v2 does that in one stroke, forks
// in flight included (cgroup.kill, Linux 5.14); in v1 the pids are read and
// signalled until none is left. A killed process leaves its group a little
// later, when it gets to exit, so all of this is tried again, within a bound.

package cgroup

import (
	"cmp"
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
		if err := own(dir); err != nil {
			failed = append(failed, err)
			continue
		}
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
	return processes(m.dirs()...)
}

// Kill thaws the group and sends SIGKILL to every process in it and in the
// groups below it. It does not wait for them to end. In v1 the group cannot
// fork any more afterwards, until the next [Manager.Create]: a fork bomb would
// outrun the signals. It goes on after a failure and returns all errors, joined.
func (m *Manager) Kill() error {
	return kill(m.dirs())
}

// remove removes the groups dirs with all that is in them.
func remove(dirs []string) error {
	deadline := time.Now().Add(removeTimeout)
	left, refused := rmdir(dirs) // mostly all have ended already, and this is all
	for pause := 100 * time.Microsecond; len(left) > 0; pause = min(2*pause, 20*time.Millisecond) {
		unkilled := kill(left)
		var failed error
		left, failed = rmdir(left)
		refused = errors.Join(refused, failed)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return errors.Join(refused, unkilled, stubborn(left[0]))
		}
		time.Sleep(pause)
	}
	return refused
}

// rmdir removes the groups dirs and those below them, and returns those in
// which there is still somebody. The error is of the others.
func rmdir(dirs []string) (busy []string, err error) {
	var failed []error
	for _, dir := range dirs {
		if err := own(dir); err != nil {
			failed = append(failed, err)
			continue
		}
		err := unix.Rmdir(dir)
		if err == unix.EBUSY || err == unix.ENOTEMPTY {
			err = rmdirTree(dir)
		}
		switch err {
		case nil, unix.ENOENT:
		case unix.EBUSY, unix.ENOTEMPTY:
			busy = append(busy, dir)
		default:
			failed = append(failed, fmt.Errorf("cgroup: rmdir %q: %w", dir, err))
		}
	}
	return busy, errors.Join(failed...)
}

// own refuses a directory in which nobody may be killed and which nobody may
// remove: one that is not in a cgroup file system, and the root of one, which
// holds every process there is. One that is not there is fine.
func own(dir string) error {
	if !path.IsAbs(dir) || path.Clean(dir) != dir {
		return invalid("remove %q: need a clean absolute path", dir)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if errNotThere(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup: open %q: %w", dir, err)
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	var st unix.Statx_t
	if err := cmp.Or(unix.Fstatfs(fd, &fs), unix.Statx(fd, "", unix.AT_EMPTY_PATH, 0, &st)); err != nil {
		return fmt.Errorf("cgroup: look at %q: %w", dir, err)
	}
	group := fs.Type == unix.CGROUP_SUPER_MAGIC || fs.Type == unix.CGROUP2_SUPER_MAGIC
	if !group || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return invalid("remove %q: not a group below the root of a hierarchy", dir)
	}
	return nil
}

// rmdirTree removes dir and the groups below it, the deepest first. Its error
// is that of dir itself.
func rmdirTree(dir string) error {
	last := error(unix.ENOENT)
	err := walk(dir, nil, func(above int, name string) error {
		last = unix.Unlinkat(above, name, unix.AT_REMOVEDIR)
		return nil
	})
	if errors.Is(err, unix.ETIMEDOUT) { // somebody makes more of them all the time
		return unix.EBUSY
	}
	return cmp.Or(err, last)
}

// kill sends SIGKILL to all that is in the groups dirs and those below them. The
// thaw comes last: what was frozen wakes up with its signal and does nothing
// more, while in a container that may write to its v1 freezer one process could
// freeze another again.
func kill(dirs []string) error {
	var failed []error
	for _, dir := range dirs {
		failed = append(failed, stopForks(dir))
	}
	pids, err := processes(dirs...)
	failed = append(failed, err)
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			failed = append(failed, fmt.Errorf("cgroup: kill process %d: %w", pid, err))
		}
	}
	for _, dir := range dirs {
		failed = append(failed, thawTree(dir))
	}
	return errors.Join(failed...)
}

// stopForks kills the group dir of v2 and all below it, and lets none of v1 fork
// any more, as far as the controllers of dir can do that.
func stopForks(dir string) error {
	file, value := "cgroup.kill", "1"
	if !exists(dir, file) {
		file, value = "pids.max", "0"
	}
	if !exists(dir, file) {
		return nil
	}
	if err := write(dir, file, value); err != nil && !errNotThere(err) {
		return err
	}
	return nil
}

// processes returns the pids in the groups dirs and those below them, in
// ascending order. A group that is not there has none.
func processes(dirs ...string) ([]int, error) {
	var pids []int
	var failed []error
	for _, dir := range dirs {
		failed = append(failed, walk(dir, func(group int) error {
			text, err := readAt(group, "cgroup.procs")
			if err == unix.EOPNOTSUPP { // threaded, and listed above
				return nil
			}
			for _, word := range strings.Fields(text) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					return err
				}
				if pid != 0 { // 0: not in our pid namespace, and kill(0) is our own process group
					pids = append(pids, pid)
				}
			}
			return err
		}, nil))
	}
	slices.Sort(pids)
	return slices.Compact(pids), errors.Join(failed...)
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
