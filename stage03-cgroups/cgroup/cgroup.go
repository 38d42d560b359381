// Package cgroup limits, counts, freezes and ends the processes of a container
// with control groups: cgroups(7), and in the kernel's documentation
// admin-guide/cgroup-v2 and admin-guide/cgroup-v1.
//
// A hierarchy is a file system, a group is a directory in it, and a controller
// (memory, cpu, pids, ...) puts its files into each directory. Making a group
// is mkdir(2), a limit is a number written to a file, and a process enters by
// having its pid written to cgroup.procs; its children are born inside.
//
// There are two versions, and three kinds of machine:
//
//	unified   v2 only: one hierarchy holds all controllers
//	legacy    v1 only: a hierarchy for each controller (or for a few)
//	hybrid    v1 hierarchies, and a v2 one with the controllers that are left
//
// One Manager serves all three: it is the same path in every hierarchy of the
// machine. Where the versions differ, the file of that controller has the one
// function beside the other (memory.go, cpu.go, ...).
//
//	h, err := cgroup.Detect()
//	m, err := h.New("/skiff-web")
//	err = m.Create(j)                // j: the journal that remembers it
//	err = m.Set(spec.Linux.Resources)
//	err = m.Add(pid)                 // or born inside: Descriptor, Entrances
//	go m.WatchMemory(ctx, func(e cgroup.MemoryEvents) { ... })
//	stats, err := m.Stats()
//	...
//	err = m.Delete()
package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Manager is one container's group: the same path in every hierarchy. It is
// not safe for use by several goroutines at a time.
type Manager struct {
	v1 []group
	v2 *group // nil on a legacy machine

	// What Create made, for Delete; created says whether it ran.
	created bool
	made    []string
	parents []string
}

// group is one directory in one hierarchy.
type group struct {
	root        string   // where the hierarchy is mounted
	dir         string   // the group's directory below root
	controllers []string // v1: what the hierarchy holds
}

// New returns the manager of the group at p in every hierarchy. It makes and
// checks nothing on the host; see [Manager.Create].
//
// p is what the OCI runtime specification calls cgroupsPath (config-linux.md,
// "Cgroups Path"). It is relative to where the cgroup file systems are mounted,
// whether it begins with a slash or not: so one path is one group, whoever asks.
// A path with ".." is refused, and so is "/", which is everybody's group.
//
// "SLICE:PREFIX:NAME" is how engines name a unit for a runtime that has systemd
// make its groups, over D-Bus. This one makes them itself, and to take such a
// name for a path would put the container where nobody looks for it: it is an
// error for which errors.Is(err, errors.ErrUnsupported) holds.
func (h *Hierarchies) New(p string) (*Manager, error) {
	clean := path.Clean("/" + p)
	switch {
	case clean == "/":
		return nil, fmt.Errorf("cgroup: path %q: %w: need a path below /", p, unix.EINVAL)
	case slices.Contains(strings.Split(p, "/"), ".."):
		return nil, fmt.Errorf("cgroup: path %q: %w: \"..\" is not allowed", p, unix.EINVAL)
	case strings.ContainsAny(p, "\n\x00"): // cgroup_mkdir() refuses a newline as well
		return nil, fmt.Errorf("cgroup: path %q: %w: a newline or zero byte is not allowed", p, unix.EINVAL)
	case !path.IsAbs(p) && strings.Count(p, ":") == 2:
		err := fmt.Errorf("cgroup: path %q: %w: it names a unit of systemd, and there is no systemd driver here", p, errors.ErrUnsupported)
		return nil, hint.Add(err, "tell the engine to use the cgroupfs driver: podman --cgroup-manager=cgroupfs, dockerd --exec-opt native.cgroupdriver=cgroupfs, containerd SystemdCgroup = false")
	}
	m := &Manager{}
	for _, v1 := range h.V1 {
		m.v1 = append(m.v1, group{v1.MountPoint, path.Join(v1.MountPoint, clean), v1.Controllers})
	}
	if h.V2 != nil {
		m.v2 = &group{root: h.V2.MountPoint, dir: path.Join(h.V2.MountPoint, clean)}
	}
	return m, nil
}

// groups returns the group in every hierarchy, v1 first.
func (m *Manager) groups() []group {
	if m.v2 == nil {
		return m.v1
	}
	return append(slices.Clip(m.v1), *m.v2)
}

// dirs returns the directory of the group in every hierarchy.
func (m *Manager) dirs() []string {
	var dirs []string
	for _, g := range m.groups() {
		dirs = append(dirs, g.dir)
	}
	return dirs
}

// v1Dir returns the group's directory in the v1 hierarchy that holds controller.
func (m *Manager) v1Dir(controller string) (dir string, ok bool) {
	for _, g := range m.v1 {
		if slices.Contains(g.controllers, controller) {
			return g.dir, true
		}
	}
	return "", false
}

// Paths returns the group's directory for each v1 controller ("memory",
// "name=systemd", ...) and, for the v2 hierarchy, under the key "".
func (m *Manager) Paths() map[string]string {
	paths := make(map[string]string)
	for _, g := range m.v1 {
		for _, c := range g.controllers {
			paths[c] = g.dir
		}
	}
	if m.v2 != nil {
		paths[""] = m.v2.dir
	}
	return paths
}

// ErrNoController is what errors.Is finds when a limit was asked for whose
// controller this machine does not have.
var ErrNoController = errors.New("no such controller on this machine")

// noController returns the error for a controller that is not there.
func (m *Manager) noController(name string) error {
	err := fmt.Errorf("cgroup: controller %q: %w", name, ErrNoController)
	v1 := map[string]string{"io": "blkio"}[name]
	if v1 == "" {
		v1 = name
	}
	switch dir, held := m.v1Dir(v1); {
	case held: // asked for by a file of v2
		return hint.Add(err, "it is not in the v2 hierarchy because a v1 one has it: "+dir)
	case m.v2 != nil && len(m.v1) == 0:
		return hint.Add(err, "compare "+m.v2.root+"/cgroup.controllers; the kernel may need cgroup_enable="+name+" at boot")
	}
	return hint.Add(err, "if /proc/cgroups lists it, mount it: mount -t cgroup -o "+name+" cgroup /sys/fs/cgroup/"+name)
}
