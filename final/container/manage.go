package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage03-cgroups/journal"
)

// What later commands do with a container that is there: look at it, signal it,
// delete it, and unmake what killed commands have left. runtime-spec runtime.md,
// "Operations".

// ErrNotFound is in the error for a container that does not exist.
var ErrNotFound = errors.New("no such container")

// find returns the state folder and the state of a container.
func (r *Runtime) find(id string) (dir string, state *State, err error) {
	if err := validID(id); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(r.Root, id)
	state, err = readState(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil, fmt.Errorf("container %q: %w", id, ErrNotFound)
	}
	return dir, state, err
}

// State returns the state of a container.
func (r *Runtime) State(id string) (*State, error) {
	_, state, err := r.find(id)
	return state, err
}

// List returns the states of all containers, by id. A folder without a state
// is a container that is just being made, or what a killed process has left:
// see Collect.
func (r *Runtime) List() ([]*State, error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var all []*State
	for _, e := range entries {
		state, err := readState(filepath.Join(r.Root, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, state)
	}
	return all, nil
}

// Kill sends a signal to the first process of a container.
func (r *Runtime) Kill(id string, signal syscall.Signal) error {
	_, state, err := r.find(id)
	if err != nil {
		return err
	}
	if state.Status == specs.StateStopped {
		return fmt.Errorf("kill container %q: it is not running", id)
	}
	return signalProcess(state, signal)
}

// signalProcess sends a signal through a pidfd, after making sure that the
// process is still the one that the state means.
func signalProcess(state *State, signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(state.Pid, 0)
	if err != nil {
		return fmt.Errorf("signal container %q: %w", state.ID, err)
	}
	defer unix.Close(fd)
	if !alive(state.Pid, state.StartTime) {
		return fmt.Errorf("signal container %q: %w", state.ID, os.ErrProcessDone)
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		return fmt.Errorf("signal container %q: %w", state.ID, err)
	}
	return nil
}

// Delete unmakes a container that has stopped, or was never started. With
// force it ends a running one first, and one that does not exist is fine.
func (r *Runtime) Delete(id string, force bool) error {
	dir, state, err := r.find(id)
	switch {
	case errors.Is(err, ErrNotFound):
		// Perhaps only half of it was made, by a process that was killed.
		if _, err := os.Lstat(dir); err == nil && force {
			return r.unmake(dir)
		}
		if force {
			return nil
		}
		return err
	case err != nil:
		return err
	case state.Status == specs.StateRunning && !force:
		return fmt.Errorf("delete container %q: it is running", id)
	}
	if state.Status != specs.StateStopped {
		if err := signalProcess(state, unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		waitUntilGone(state.Pid)
	}
	return r.unmake(dir)
}

// waitUntilGone waits until a process has ended, which may be no child of
// this one: a pidfd is readable then, pidfd_open(2).
func waitUntilGone(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // gone
	}
	defer unix.Close(fd)
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// unmake undoes what the journal in dir says, which removes dir at last.
func (r *Runtime) unmake(dir string) error {
	// Whoever has the lock is perhaps unmaking it already, as a run does whose
	// process was just ended: then nothing is left to do afterwards.
	held, err := flock(dir, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer held.Close()
	if !sameFolder(held, dir) {
		return nil
	}
	return r.unmakeLocked(dir)
}

// sameFolder tells whether the folder that was opened still has its name, and
// not another container's by now.
func sameFolder(opened *os.File, dir string) bool {
	before, err := opened.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(dir)
	return err == nil && os.SameFile(before, now)
}

// unmakeLocked is unmake for who holds the lock.
func (r *Runtime) unmakeLocked(dir string) error {
	file := filepath.Join(dir, journalFile)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(dir) // whoever made it was killed before the first entry
	}
	j, err := journal.Open(file)
	if err != nil {
		return err
	}
	return errors.Join(j.Undo(r.undoers()), j.Close())
}

// Collect unmakes what killed processes have left: containers whose Run has
// ended without unmaking them, and those that were never finished. It returns
// the ids of what it has unmade. Containers that Create made are left alone:
// that process was meant to end.
func (r *Runtime) Collect() (ids []string, err error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for what is left: %w", err)
	}
	var errs []error
	for _, e := range entries {
		done, err := r.collect(filepath.Join(r.Root, e.Name()))
		if done {
			ids = append(ids, e.Name())
		}
		errs = append(errs, err)
	}
	return ids, errors.Join(errs...)
}

// collect unmakes the container in dir if nobody holds its lock.
func (r *Runtime) collect(dir string) (done bool, err error) {
	held, err := r.orphaned(dir)
	if held == nil || err != nil {
		return false, err
	}
	defer held.Close()
	state, err := readState(dir)
	switch {
	case err == nil && !state.Attended:
		return false, nil
	case err == nil && state.Status != specs.StateStopped:
		if err := signalProcess(state, unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, err
		}
		waitUntilGone(state.Pid)
	}
	return true, r.unmakeLocked(dir)
}

// orphaned takes the lock of a state folder, or returns nil when somebody
// else has it.
func (r *Runtime) orphaned(dir string) (held *os.File, err error) {
	above, err := flock(r.Root, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	held, err = flock(dir, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return held, err
}
