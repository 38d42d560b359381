package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// The container's cgroup: made before its process, so that this can go in
// before it does anything else, and by the cheap ways: cgroups(7), clone3(2)
// CLONE_INTO_CGROUP, and cgroup.Manager.Add for what the other way costs.

// chooseCgroup decides where the container's cgroup will be.
func (c *Container) chooseCgroup() error {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if c.withoutCgroup() {
		hierarchies = &cgroup.Hierarchies{}
	}
	if c.cgroup, err = hierarchies.New(cgroupPath(c.config.Spec, c.config.ID)); err != nil {
		return err
	}
	if dir := c.cgroup.Paths()[""]; dir != "" {
		_, err := os.Stat(dir)
		c.foundGroup = err == nil
	}
	return c.refuseTaken()
}

// refuseTaken is an error if another container has made this one's group. It has
// stopped, or cgroup.Manager.Create will find it there; but when it is deleted its
// group is removed, with all that is in it.
func (c *Container) refuseTaken() error {
	taken := c.foundGroup
	for controller, dir := range c.cgroup.Paths() {
		if controller != "" {
			taken = taken || exists(dir) // one tells: they are made together
			break
		}
	}
	if !taken {
		return nil
	}
	entries, err := os.ReadDir(c.runtime.Root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(c.runtime.Root, e.Name(), journalFile))
		if err != nil || e.Name() == c.config.ID { // it has made nothing yet, or is gone
			continue
		}
		for _, dir := range slices.Sorted(maps.Values(c.cgroup.Paths())) {
			if name, err := json.Marshal(dir); err == nil && bytes.Contains(text, name) {
				return hint.Add(fmt.Errorf("cgroup %q: container %q has made it", dir, e.Name()),
					"delete that container first, or give this one another linux.cgroupsPath")
			}
		}
	}
	return nil
}

// another finds a container beside id that has not stopped and is in one of these
// groups, or nil.
func (r *Runtime) another(id string, groups map[string]string) (*State, error) {
	all, err := r.List()
	for _, s := range all {
		for controller, dir := range groups {
			if s.ID != id && s.Status != specs.StateStopped && s.CgroupPaths[controller] == dir {
				return s, nil
			}
		}
	}
	return nil, err
}

// cgroupPath is where the cgroup of a container is in each hierarchy.
func cgroupPath(spec *specs.Spec, id string) string {
	if spec.Linux.CgroupsPath != "" {
		return spec.Linux.CgroupsPath
	}
	return "/skiff-" + id
}

// ownsCgroup tells whether the container may change its cgroup: it has a new
// cgroup namespace, and mounts the tree for writing. runtime-spec config-linux.md,
// "Cgroup ownership"; of version 2 only.
func (c *Container) ownsCgroup() bool {
	own := slices.ContainsFunc(c.config.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.CgroupNamespace && n.Path == ""
	})
	return own && slices.ContainsFunc(c.config.Spec.Mounts, func(m specs.Mount) bool {
		return (m.Type == "cgroup" || m.Type == "cgroup2") && !slices.Contains(m.Options, "ro")
	})
}

// withoutCgroup tells whether the container stays in the cgroup of its parent: an
// ordinary user may make others only where they were delegated to him (cgroups(7)),
// and has asked for none. A limit that was asked for is never left out.
func (c *Container) withoutCgroup() bool {
	return OrdinaryUser() && c.config.Spec.Linux.CgroupsPath == "" && !limits(c.config.Spec.Linux.Resources)
}

// OrdinaryUser tells whether this process has the rights of an ordinary user on
// the machine: it is one, or root in a user namespace that is not the first, as
// podman makes one for its user. Only the first maps all ids to themselves:
// user_namespaces(7).
func OrdinaryUser() bool {
	if os.Geteuid() != 0 {
		return true
	}
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && !slices.Equal(strings.Fields(string(text)), []string{"0", "0", "4294967295"})
}

// limits tells whether r asks for anything beside rules for devices, which the
// user namespace of an ordinary user sees to: he cannot make any.
func limits(r *specs.LinuxResources) bool {
	if r == nil {
		return false
	}
	rest := *r
	rest.Devices = nil
	return !reflect.DeepEqual(rest, specs.LinuxResources{})
}

// makeCgroup makes the container's cgroup and sets its limits. born is the
// directory in which the process is to be born, nil without cgroup v2 and where
// waysIn says so; its plan takes it into the groups of v1.
func (c *Container) makeCgroup() (born *os.File, err error) {
	if len(c.cgroup.Paths()) == 0 {
		return nil, nil
	}
	if err := c.cgroup.Create(c.journal); err != nil {
		return nil, err
	}
	resources := c.config.Spec.Linux.Resources
	for _, w := range cgroup.Ignored(resources) {
		fmt.Fprintln(c.config.Warn, "warning:", w)
	}
	if err := c.cgroup.Set(withDefaultDevices(resources)); err != nil {
		return nil, err
	}
	if c.ownsCgroup() {
		user := c.config.Spec.Process.User
		linux := c.config.Spec.Linux
		if err := c.cgroup.Delegate(hostID(linux.UIDMappings, user.UID), hostID(linux.GIDMappings, user.GID)); err != nil {
			return nil, err
		}
	}
	if c.foundGroup {
		return nil, nil
	}
	return c.cgroup.Descriptor()
}

// waysIn are how a process gets into groups: born is the one of version 2, into
// which it is cloned, and through the files of entrances it moves itself.
//
// A v2 group that was there before the container is found, not made, and nobody is
// born in it: it may have been killed once, by the end of the container before,
// and then the kernel ends at birth whoever is cloned into it (cgroup.kill in
// cgroups(7); cgroup_post_fork in kernel/cgroup/cgroup.c compares the kill_seq of
// two different groups; seen on Linux 6.18).
func waysIn(groups map[string]string, found bool, more []string) (born string, entrances []string) {
	entrances = append(cgroup.Entrances(groups), more...)
	if unified := groups[""]; found && unified != "" {
		return "", append(entrances, unified+"/cgroup.procs")
	}
	return groups[""], entrances
}

// withDefaultDevices puts the rules of the configuration between one that
// forbids all devices, since a container has those that it was given and no
// others, and those for the devices that every container has. As in runc they include
// /dev/net/tun, since engines have no rule for it (opencontainers/runc pull request 3468):
// who has that device still needs CAP_NET_ADMIN to use it.
func withDefaultDevices(r *specs.LinuxResources) *specs.LinuxResources {
	var all specs.LinuxResources
	if r != nil {
		all = *r
	}
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	tun := specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(200)), Access: "rwm"}
	all.Devices = append(append(append(rules, all.Devices...), cgroup.DefaultDevices()...), tun)
	return &all
}
