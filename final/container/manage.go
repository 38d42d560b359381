package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// What later commands do with a container that is there: look at it, signal it,
// delete it, and unmake what killed commands have left. runtime-spec runtime.md,
// "Operations".

// ErrNotFound is in the error for a container that does not exist, and errNotRunning in
// that for one whose process is not there. containerd's shim finds these very words in
// our messages and those of runc, and takes the container for gone (checkKillError,
// pkg/process/utils.go).
var (
	ErrNotFound   = errors.New("does not exist")
	errNotRunning = errors.New("container not running")
)

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

// List returns the states of all containers, by id, and why others cannot be read.
// A folder without a state is a container that is just being made, or what a killed
// process has left: see Collect. It works on all processors, since the kernel takes
// most of the time: four files and more for each container.
func (r *Runtime) List() ([]*State, error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all, errs := make([]*State, len(entries)), make([]error, len(entries))
	workers := runtime.GOMAXPROCS(0)
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < len(entries); i += workers {
				all[i], errs[i] = readOwnedState(filepath.Join(r.Root, entries[i].Name()))
			}
		})
	}
	group.Wait()
	return slices.DeleteFunc(all, func(s *State) bool { return s == nil }), errors.Join(errs...)
}

// readOwnedState is readState, with the owner; nil is that of a folder without one.
func readOwnedState(dir string) (*State, error) {
	state, err := readState(dir)
	if err == nil {
		var folder unix.Stat_t
		err = unix.Stat(dir, &folder)
		state.Owner = folder.Uid
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return state, nil
}

// Kill sends a signal to the first process of a container. SIGKILL also ends a
// paused one, and all processes of one without a pid namespace of its own: there
// the kernel does not end them with the first.
func (r *Runtime) Kill(id string, signal syscall.Signal) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	switch state.Status {
	case specs.StateStopped:
		return fmt.Errorf("kill container %q: %w", id, errNotRunning)
	case specs.StateCreating:
		return fmt.Errorf("kill container %q: it is still being created", id)
	}
	if signal != unix.SIGKILL {
		return signalProcess(state, signal)
	}
	return kill(dir, state)
}

// kill is Kill with SIGKILL, for a container that was found and has not stopped.
func kill(dir string, state *State) error {
	err := signalProcess(state, unix.SIGKILL)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if len(state.CgroupPaths) == 0 {
		return err
	}
	if state.OwnPids {
		return errors.Join(err, thaw(dir, state)) // frozen, it would not end: see cgroup.Manager.Freeze
	}
	group, failed := managerOf(dir, state)
	if failed != nil {
		return failed
	}
	return group.Kill()
}

// KillAll sends a signal to every process of a container, also to those that
// have outlived the first one. That there is none is no error: containerd asks
// whenever the first process of a container without its own pid namespace has ended.
func (r *Runtime) KillAll(id string, signal syscall.Signal) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	if state.Status == specs.StateStopped {
		// A group must be empty for a container to take it: who is in there now is not
		// one of this container's.
		if other, err := r.another(id, state.CgroupPaths); other != nil || err != nil {
			return err
		}
	}
	group, err := managerOf(dir, state)
	if err != nil {
		return fmt.Errorf("kill all of container %q: %w", id, err)
	}
	pids, err := group.Processes()
	switch {
	case err != nil:
		return err
	case signal == unix.SIGKILL:
		return group.Kill()
	}
	var errs []error
	for _, pid := range pids {
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill all of container %q: process %d: %w", id, pid, err))
		}
	}
	return errors.Join(errs...)
}

// openProcess returns a pidfd of the container's first process, after making
// sure that the process is still the one that the state means: pidfd_open(2).
func openProcess(state *State) (*os.File, error) {
	fd, err := unix.PidfdOpen(state.Pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH): // it has ended since the state was read
		return nil, os.ErrProcessDone
	case err != nil:
		return nil, fmt.Errorf("open process %d: %w", state.Pid, err)
	}
	if !alive(state.Pid, state.StartTime) {
		return nil, errors.Join(os.ErrProcessDone, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// signalProcess sends a signal to the container's first process.
func signalProcess(state *State, signal syscall.Signal) error {
	pidfd, err := openProcess(state)
	if err != nil {
		return fmt.Errorf("signal container %q: %w", state.ID, err)
	}
	defer pidfd.Close()
	err = unix.PidfdSendSignal(int(pidfd.Fd()), signal, nil, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		err = os.ErrProcessDone
	case err == nil:
		return nil
	}
	return fmt.Errorf("signal container %q: %w", state.ID, err)
}

// Delete unmakes a container that has stopped, or was never started. With
// force it ends a running one first, and one that does not exist is fine.
func (r *Runtime) Delete(id string, force bool) error {
	dir, state, err := r.find(id)
	switch {
	case errors.Is(err, ErrNotFound):
		// Perhaps only half of it was made, by a process that was killed.
		if _, err := os.Lstat(dir); err == nil && force {
			return r.unmake(dir, nil)
		}
		if force {
			return nil
		}
		return err
	case err != nil:
		return err
	case (state.Status == specs.StateRunning || state.Status == StatePaused || state.Status == specs.StateCreating) && !force:
		return fmt.Errorf("delete container %q: it is %s", id, state.Status)
	}
	if state.Status != specs.StateStopped {
		if err := kill(dir, state); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		waitUntilGone(state.Pid)
	}
	return r.unmake(dir, state)
}

// waitUntilGone waits until a process has ended, which may be no child of
// this one: a pidfd is readable then, pidfd_open(2). Process 1 of a pid namespace
// ends when all others in there have been waited for, which is their parents'
// business: so there is a bound, and the removal of its cgroup will say who is left.
func waitUntilGone(pid int) {
	const bound = 10_000 // milliseconds, as in runc
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // gone
	}
	defer unix.Close(fd)
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, bound); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// unmake undoes what the journal in dir says, and removes dir. The hooks of
// poststop are in the state, if there is one.
func (r *Runtime) unmake(dir string, state *State) error {
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
	now, err := readState(dir)
	switch {
	case err != nil:
	case state == nil && now.Status != specs.StateStopped: // it was just being made
		return r.end(dir, now)
	case state == nil:
		state = now
	case !now.Created.Equal(state.Created):
		// What was read without the lock is of a container that is gone, and this
		// folder of the next one that has its id.
		return fmt.Errorf("delete container %q: another one of this id has been made meanwhile", now.ID)
	}
	return r.unmakeLocked(dir, state)
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
func (r *Runtime) unmakeLocked(dir string, state *State) error {
	if state == nil && exists(filepath.Join(dir, deletedFile)) { // whoever ran its hooks was killed
		var err error
		if state, err = readStateFile(dir, deletedFile); err != nil {
			return err
		}
	}
	var j *journal.Journal
	if file := filepath.Join(dir, journalFile); exists(file) {
		var err error
		if j, err = journal.Open(file); err != nil {
			return err
		}
	}
	return r.undo(dir, j, state, r.Warn)
}

// Collect unmakes what killed processes have left: containers whose Run has
// ended without unmaking them, and those that were never finished. It returns
// the ids of what it has unmade. Containers that Create made are left alone:
// that process was meant to end.
func (r *Runtime) Collect() (ids []string, err error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("look for what is left: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Add(err, "run it as root")
		}
		return nil, err
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
		if err := kill(dir, state); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, err
		}
		waitUntilGone(state.Pid)
	}
	return true, r.unmakeLocked(dir, state)
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
