package container

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
)

// What is kept of a container on disk, and the locks that keep commands apart:
// JSON files that people can read, flock(2), rename(2).

// The files of a container's state folder. People can read all of them.
const (
	stateFile   = "state.json"   // what is below
	configFile  = "config.json"  // the configuration as it was at create
	journalFile = "journal"      // what is on the host, and how to unmake it
	deletedFile = "deleted.json" // the state, while the hooks of poststop run
	startFile   = "start"        // a FIFO: the created process waits at it
	makingFile  = "start.new"    // its name until the container is created
	reportFile  = "report"       // how far the process has come in its plan
	planFile    = "plan.txt"     // the plan, as people read it
)

// State is what is kept of a container on disk: the state of the runtime
// specification ("State"), and what skiff needs beside it.
type State struct {
	specs.State
	Created   time.Time `json:"created"`
	StartTime uint64    `json:"startTime"` // of the process, in clock ticks since boot, to know it from another with its pid
	Started   bool      `json:"started"`   // it is past the start FIFO, or has none
	Rootfs    string    `json:"rootfs"`
	Attended  bool      `json:"attended"` // a Run waits for it, and unmakes it; without that it is an orphan

	// CgroupPaths are its groups, see cgroup.Manager.Paths; none when it stays in
	// those of who made it.
	CgroupPaths map[string]string `json:"cgroupPaths,omitempty"`
	// FoundGroup says that the group of version 2 was there before, see waysIn.
	FoundGroup bool `json:"foundGroup,omitempty"`
	// OwnPids says that it has a pid namespace of its own, and all of it ends with
	// its first process.
	OwnPids bool `json:"ownPids,omitempty"`
	// Owner is the user who made it; List alone says it.
	Owner uint32 `json:"-"`
	// Resctrl are the files through which a process enters its resctrl groups.
	Resctrl []string `json:"resctrl,omitempty"`
	// Keyring is the name of its session keyring, or "" for that of who made it.
	Keyring string `json:"keyring,omitempty"`

	NoProcess bool         `json:"noProcess,omitempty"` // there is no program to start
	Hooks     *specs.Hooks `json:"hooks,omitempty"`     // those that are still to come
}

// write puts the state on disk: into a new file that then takes the name, so
// that a reader never sees half of it.
func (s *State) write(dir string) error {
	text, err := oci.Encode(s)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	temporary := filepath.Join(dir, stateFile+".new")
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// readState reads the state of a container, and finds out whether its process
// is still there.
func readState(dir string) (*State, error) {
	s, err := readStateFile(dir, stateFile)
	if err != nil {
		return nil, err
	}
	switch {
	case !alive(s.Pid, s.StartTime):
		s.Status, s.Pid = specs.StateStopped, 0
	case s.paused():
		s.Status = StatePaused
	case s.Started:
		s.Status = specs.StateRunning
	case exists(filepath.Join(dir, startFile)):
		s.Status = specs.StateCreated
	default:
		s.Status = specs.StateCreating
	}
	return s, nil
}

// exists tells whether there is something of this name.
func exists(name string) bool { return unix.Access(name, unix.F_OK) == nil }

// readFile reads a small file of a disk or the kernel, into buffer where that has the
// room: os.ReadFile makes twice as many system calls, and `list` reads thousands.
// Of such files read(2) gives all that there is room for, so that with room to spare
// it was the last.
func readFile(name string, buffer []byte) (text []byte, err error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	text = buffer[:0]
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if text = text[:len(text)+n]; len(text) < cap(text) {
			return text, nil
		}
		text = slices.Grow(text, len(text))
	}
}

// buffers are for what is read and not kept.
var buffers = sync.Pool{New: func() any { return new([2048]byte) }}

// readStateFile reads what was written.
func readStateFile(dir, name string) (*State, error) {
	file, buffer := filepath.Join(dir, name), buffers.Get().(*[2048]byte)
	defer buffers.Put(buffer)
	text, err := readFile(file, buffer[:])
	if err != nil {
		return nil, err
	}
	s := &State{}
	if err := oci.Decode(text, s); err != nil {
		return nil, fmt.Errorf("read %q: %w", file, err)
	}
	if s.ID != filepath.Base(dir) { // its group would be another's
		return nil, fmt.Errorf("read %q: it is the state of container %q", file, s.ID)
	}
	return s, nil
}

// startTime is when a process was started, field 22 of /proc/PID/stat in
// proc(5), and whether it still runs. A pid alone may by now belong to another
// process.
func startTime(pid int) (ticks uint64, runs bool) {
	buffer := buffers.Get().(*[2048]byte)
	defer buffers.Put(buffer)
	text, err := readFile("/proc/"+strconv.Itoa(pid)+"/stat", buffer[:])
	if err != nil {
		return 0, false
	}
	// The second field, a name in parentheses, may hold anything.
	field := 3
	for value := range bytes.FieldsSeq(text[bytes.LastIndexByte(text, ')')+1:]) {
		switch field {
		case 3:
			runs = value[0] != 'Z' && value[0] != 'X'
		case 22:
			ticks, err = strconv.ParseUint(string(value), 10, 64)
			return ticks, runs && err == nil
		}
		field++
	}
	return 0, false
}

// alive tells whether the process that was started at that time still runs.
func alive(pid int, started uint64) bool {
	if pid <= 0 || started == 0 { // no container begins with the machine, as pid 1 may
		return false
	}
	now, runs := startTime(pid)
	return runs && now == started
}

// An id is part of paths and names: runtime-spec runtime.md, "ID", leaves the
// form to the runtime, and this is runc's.
func validID(id string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-."
	bad := strings.IndexFunc(id, func(r rune) bool { return !strings.ContainsRune(letters, r) })
	if id == "" || id == "." || id == ".." || len(id) > 255 || bad >= 0 {
		return hint.Add(fmt.Errorf("container id %q is not valid", id), "use letters, digits and _ + - . only, at most 255")
	}
	return nil
}

// makeFolder makes the state folder of a new container and takes its lock.
// That it did not exist is what makes the id this container's.
func makeFolder(root, id string) (dir string, held *os.File, err error) {
	if err := validID(id); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", nil, hint.Add(fmt.Errorf("make state folder: %w", err), "the state folder must be writable: choose another one, or run as root")
	}
	// Between mkdir and lock the folder looks like one that a killed process
	// has left; the lock of the folder above keeps Collect away.
	above, err := flock(root, unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer above.Close()
	dir = filepath.Join(root, id)
	err = os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		return "", nil, hint.Add(fmt.Errorf("container %q: the id is already in use", id),
			"choose another id, or delete that container first")
	case err != nil:
		return "", nil, hint.Add(fmt.Errorf("make state folder: %w", err), "the state folder must be writable: choose another one, or run as root")
	}
	held, err = flock(dir, unix.LOCK_EX|unix.LOCK_NB)
	return dir, held, err
}

// flock opens a folder and locks it: flock(2). The lock is given up when the
// file is closed, or with the process; whoever works on a container holds
// that of its state folder. Without LOCK_NB it waits for the lock.
func flock(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, hint.Add(fmt.Errorf("lock %q: %w", dir, err), "another command is at work on this container")
	}
	return f, nil
}
