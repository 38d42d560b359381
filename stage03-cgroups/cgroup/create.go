// Creating the group and letting processes in. mkdir(2) makes a group in each
// hierarchy; a pid written to cgroup.procs moves that process. Two things do
// not come by themselves: a v1 cpuset group is born without processors and
// memory nodes and takes nobody in until it has some, and a v2 group has only
// the controllers that all groups above it hand down (cgroup.subtree_control).

package cgroup

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
)

// Create makes the group in every hierarchy, with the groups above it where
// they are missing, and writes both into j first. A nil j records nothing.
// After an error, Delete or the journal removes what was made.
//
// A group that exists already is used, and not removed by Delete or by the
// journal; but it must be empty and not frozen (runtime-spec config-linux.md,
// "Control groups"): what is in it would share the container's limits and die
// with it. Two callers that create one path at the same moment must exclude
// each other with a lock of their own.
func (m *Manager) Create(j *journal.Journal) error {
	// From here on Delete removes what is made here and nothing else: not even
	// the group itself, should it turn out to be somebody's.
	m.created, m.made, m.parents = true, nil, nil
	var made, parents []string
	for _, g := range m.groups() {
		absent := missing(g.root, g.dir)
		if len(absent) == 0 {
			if err := unused(g.dir); err != nil {
				return err
			}
			continue
		}
		made = append(made, absent[0])
		parents = append(parents, absent[1:]...)
	}
	m.made, m.parents = made, parents
	if err := m.record(j); err != nil {
		return err
	}
	for _, g := range m.groups() {
		if err := m.mkdir(g.root, g.dir); err != nil {
			return err
		}
	}
	return m.prepare()
}

// missing returns dir and the directories above it, up to root, that do not
// exist, the deepest first.
func missing(root, dir string) []string {
	var absent []string
	for ; dir != root && unix.Access(dir, unix.F_OK) == unix.ENOENT; dir = path.Dir(dir) {
		absent = append(absent, dir)
	}
	return absent
}

// unused returns an error if a container cannot have the existing group dir.
func unused(dir string) error {
	pids, err := processes(dir)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		err := fmt.Errorf("cgroup: create %q: %w: process %d is in it", dir, unix.EEXIST, pids[0])
		return hint.Add(err, "give the container another cgroupsPath, or end what runs in that one")
	}
	if frozen(dir) {
		err := fmt.Errorf("cgroup: create %q: %w: it is frozen", dir, unix.EEXIST)
		return hint.Add(err, "give the container another cgroupsPath, or thaw that one")
	}
	return nil
}

// record writes into j what is about to be made. Entries are undone backwards,
// so the parents are the first.
func (m *Manager) record(j *journal.Journal) error {
	if j == nil {
		return nil
	}
	if len(m.parents) > 0 {
		if err := j.Record(undoParents, m.parents...); err != nil {
			return err
		}
	}
	if len(m.made) > 0 {
		return j.Record(undoGroup, m.made...)
	}
	return nil
}

// mkdir makes dir, and the directories between root and dir where they are
// missing. Those may come and go meanwhile, with the containers beside this
// one; that dir itself comes from elsewhere is an error.
func (m *Manager) mkdir(root, dir string) error {
	const tries = 100
	err := unix.Mkdir(dir, 0o755)
	for i := 0; err == unix.ENOENT && i < tries; i++ {
		for _, parent := range slices.Backward(missing(root, path.Dir(dir))) {
			if err := unix.Mkdir(parent, 0o755); err != nil && err != unix.EEXIST && err != unix.ENOENT {
				return mkdirError(parent, err)
			}
		}
		err = unix.Mkdir(dir, 0o755)
	}
	if err == unix.EEXIST && !slices.Contains(m.made, dir) {
		return nil
	}
	if err != nil {
		return mkdirError(dir, err)
	}
	return nil
}

// prepare gives the groups what a process needs to enter, and to be more than one.
func (m *Manager) prepare() error {
	for _, g := range m.groups() {
		if !slices.Contains(m.made, g.dir) {
			if err := letFork(g.dir); err != nil {
				return err
			}
		}
	}
	for _, g := range m.v1 {
		if slices.Contains(g.controllers, "cpuset") {
			if err := inheritCpuset(g.root, g.dir, slices.Contains(m.made, g.dir)); err != nil {
				return err
			}
		}
	}
	// A hybrid machine's v2 hierarchy serves to find and kill processes; what
	// it has of controllers is enabled when a limit asks for it.
	if m.v2 == nil || len(m.v1) > 0 {
		return nil
	}
	names, err := read(m.v2.root, "cgroup.controllers")
	if err != nil {
		return err
	}
	// All of them, because they also count: statistics need no limit. One that
	// cannot be enabled matters only to a limit that needs it, and Set returns
	// that error.
	if m.enable(strings.Fields(names)...) != nil {
		for _, name := range strings.Fields(names) {
			_ = m.enable(name)
		}
	}
	return nil
}

// letFork takes back what Kill has done to a group that was not ours to remove:
// nobody forks there any more.
func letFork(dir string) error {
	if value, err := readAll(dir + "/pids.max"); err != nil || strings.TrimSpace(value) != "0" {
		return nil // there is no such file in most groups of v1
	}
	return write(dir, "pids.max", unlimited)
}

// Add moves the process pid, with all its threads, into the group in every
// hierarchy. Its children are born there. A process in a frozen v1 group
// stops: ask Frozen before.
//
// Add makes the kernel wait until no process of the machine is in the middle
// of a fork or an exit: some milliseconds, often more than all else that a
// container needs (percpu_down_write in cgroup_attach_lock(),
// kernel/cgroup/cgroup.c). A new process has two ways in that do not: in v2 it
// is born inside (Descriptor), in v1 it moves itself (Entrances).
func (m *Manager) Add(pid int) error { return add(pid, m.groups()) }

// AddV1 is Add for a process that was born in the v2 group: see Descriptor. On a
// unified machine nothing is left to do.
func (m *Manager) AddV1(pid int) error { return add(pid, m.v1) }

func add(pid int, groups []group) error {
	if pid <= 0 { // the kernel takes 0 for the writer itself
		return fmt.Errorf("cgroup: add process %d: %w", pid, unix.ESRCH)
	}
	for _, g := range groups {
		if err := write(g.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// Descriptor opens the group's v2 directory for clone3(2) with
// CLONE_INTO_CGROUP, which lets a child be born in the group. The caller closes
// it. It is nil where there is no v2 hierarchy.
func (m *Manager) Descriptor() (*os.File, error) {
	if m.v2 == nil {
		return nil, nil
	}
	fd, err := unix.Open(m.v2.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open %q: %w", m.v2.dir, err)
	}
	return os.NewFile(uintptr(fd), m.v2.dir), nil
}

// Entrances are the files "tasks" of a group whose directories are paths (see
// Manager.Paths), one in each v1 hierarchy. A thread that writes "0" there moves
// itself, and, alone in its process, the whole process.
func Entrances(paths map[string]string) []string {
	var entrances []string
	for hierarchy, dir := range paths {
		if hierarchy != "" {
			entrances = append(entrances, dir+"/tasks")
		}
	}
	slices.Sort(entrances) // several controllers can be in one hierarchy
	return slices.Compact(entrances)
}
