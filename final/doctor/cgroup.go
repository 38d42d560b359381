package doctor

// This file checks control groups: which version is mounted where (cgroups(7),
// and the kernel's Documentation/admin-guide/cgroup-v2.rst), the controllers,
// and whether we may make groups.

import (
	"fmt"
	"slices"
	"strings"
)

// hierarchy is a mounted tree of control groups.
type hierarchy struct {
	dir         string // where it is mounted, without the first slash
	v2          bool
	controllers []string
}

// controller is one that skiff sets limits with.
type controller struct {
	v1, v2 string // its names; v2 is empty where a BPF program does its work
	spare  bool   // containers run without it, unlimited in this respect
}

var controllers = []controller{
	{v1: "cpu", v2: "cpu"},
	{v1: "memory", v2: "memory"},
	{v1: "pids", v2: "pids"},
	{v1: "cpuset", v2: "cpuset", spare: true},
	{v1: "blkio", v2: "io", spare: true},
	{v1: "devices", spare: true},
}

func cgroupChecks() []Check {
	checks := []Check{{"cgroup version", 3, lookAtVersion}}
	for _, c := range controllers {
		checks = append(checks, Check{"cgroup " + c.name(), 3, c.look})
	}
	return append(checks, Check{"cgroup delegation", 3, lookAtDelegation})
}

func lookAtVersion(h Host) Result {
	var v1, v2 []string
	for _, hy := range h.hierarchies() {
		if hy.v2 {
			v2 = append(v2, "/"+hy.dir)
		} else {
			v1 = append(v1, hy.controllers...)
		}
	}
	switch {
	case v1 != nil && v2 != nil:
		return ok("hybrid: v2 on %s; v1 has %s", v2[0], strings.Join(v1, " "))
	case v2 != nil:
		return ok("v2 on %s", v2[0])
	case v1 != nil:
		return ok("v1 with %s", strings.Join(v1, " "))
	}
	return missing("no hierarchy is mounted", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
}

// hierarchies returns what is mounted: proc_pid_mountinfo(5). The
// controllers of a v1 hierarchy are among its mount options; one without any
// (name=systemd) is left out.
func (h Host) hierarchies() []hierarchy {
	known, _ := h.kernelControllers()
	var all []hierarchy
	for line := range strings.Lines(h.read("proc/self/mountinfo")) {
		mount, super, _ := strings.Cut(line, " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if len(m) < 5 || len(s) < 3 {
			continue
		}
		dir := strings.TrimPrefix(m[4], "/")
		switch s[0] {
		case "cgroup2":
			enabled := strings.Fields(h.read(dir + "/cgroup.controllers"))
			all = append(all, hierarchy{dir, true, enabled})
		case "cgroup":
			enabled := slices.DeleteFunc(strings.Split(s[2], ","), func(option string) bool {
				return !slices.Contains(known, option)
			})
			if len(enabled) > 0 {
				all = append(all, hierarchy{dir, false, enabled})
			}
		}
	}
	return all
}

// kernelControllers returns the names of the controllers that the kernel has,
// and which of them are switched off: /proc/cgroups of cgroups(7).
func (h Host) kernelControllers() (names, off []string) {
	for line := range strings.Lines(h.read("proc/cgroups")) {
		f := strings.Fields(line) // name, hierarchy, number of groups, enabled
		if len(f) != 4 || f[0][0] == '#' {
			continue
		}
		names = append(names, f[0])
		if f[3] == "0" {
			off = append(off, f[0])
		}
	}
	return names, off
}

// name is what the checks call the controller.
func (c controller) name() string {
	if c.v2 != "" && c.v2 != c.v1 {
		return c.v2 + "/" + c.v1
	}
	return c.v1
}

// in tells whether a hierarchy has the controller.
func (c controller) in(hy hierarchy) bool {
	if hy.v2 {
		return c.v2 != "" && slices.Contains(hy.controllers, c.v2)
	}
	return slices.Contains(hy.controllers, c.v1)
}

func (c controller) look(h Host) Result {
	all := h.hierarchies()
	for _, hy := range all {
		if c.in(hy) {
			return ok("in /%s", hy.dir)
		}
	}
	if v2 := slices.IndexFunc(all, func(hy hierarchy) bool { return hy.v2 }); v2 >= 0 && c.v2 == "" {
		return ok("a BPF program on /%s does it", all[v2].dir)
	}
	lacking := missing
	if c.spare {
		lacking = warn
	}
	switch known, off := h.kernelControllers(); {
	case slices.Contains(off, c.v1):
		return lacking("switched off", "add cgroup_enable="+c.v1+" to the kernel's command line and boot")
	case slices.Contains(known, c.v1):
		return lacking("in the kernel, but in no hierarchy",
			fmt.Sprintf("mkdir /sys/fs/cgroup/%[1]s && mount -t cgroup -o %[1]s cgroup /sys/fs/cgroup/%[1]s", c.v1))
	}
	return lacking("not in this kernel", "take a kernel with the controller")
}

// userGroup is the group that systemd hands over to a user who has logged in:
// systemd's docs/CGROUP_DELEGATION.md.
func (h Host) userGroup(hy hierarchy) string {
	return fmt.Sprintf("%s/user.slice/user-%d.slice/user@%[2]d.service", hy.dir, h.UID)
}

// cgroupFolders returns the folders in which groups would be made: the
// hierarchies for root, the user's own group for others.
func (h Host) cgroupFolders() []string {
	var dirs []string
	for _, hy := range h.hierarchies() {
		switch {
		case h.root():
			dirs = append(dirs, hy.dir)
		case hy.v2:
			dirs = append(dirs, h.userGroup(hy))
		}
	}
	return dirs
}

// lookAtDelegation tells whether we may make groups where they are needed.
func lookAtDelegation(h Host) Result {
	if !h.root() {
		return h.lookAtUserGroup()
	}
	dirs := h.cgroupFolders()
	for _, dir := range dirs {
		if !slices.Contains(h.Writable, dir) {
			return missing(fmt.Sprintf("no group can be made in /%s", dir),
				leaveSandbox)
		}
	}
	if len(dirs) == 0 {
		return missing("no hierarchy is mounted", "see cgroup version")
	}
	return ok("groups can be made in every hierarchy")
}

// lookAtUserGroup is lookAtDelegation for ordinary users: v1 has nothing for
// them, in v2 systemd gives them a group, with as many controllers as its
// configuration says.
func (h Host) lookAtUserGroup() Result {
	for _, hy := range h.hierarchies() {
		dir := h.userGroup(hy)
		if !hy.v2 || !slices.Contains(h.Writable, dir) {
			continue
		}
		delegated := strings.Fields(h.read(dir + "/cgroup.controllers"))
		for _, c := range controllers {
			if !c.spare && !slices.Contains(delegated, c.v2) {
				return warn(fmt.Sprintf("/%s has no controller %s", dir, c.v2),
					"as root, write [Service] and Delegate=cpu cpuset io memory pids to /etc/systemd/system/user@.service.d/delegate.conf, then log in again")
			}
		}
		return ok("/%s with %s", dir, strings.Join(delegated, " "))
	}
	return warn("this user has no group of its own, so no limits can be set", "run skiff as root; on v2, log in through systemd")
}
