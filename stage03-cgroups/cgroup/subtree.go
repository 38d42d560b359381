// Handing controllers down, in v2: a group has a controller's files if each
// group above it, from the root on, names the controller in its
// cgroup.subtree_control (cgroups(7), "Cgroups v2 controllers"). The price is
// the rule of no internal processes: a group that hands controllers down holds
// no process itself, only the root may have both.

package cgroup

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// core is whose files are in every group of v2: no controller hands them down.
const core = "cgroup"

// enable makes v2 controllers available in the group. They stay enabled when
// the group goes, as other groups may have come to use them. Where a group above
// hands a controller down already, nothing is written: an ordinary user to whom
// a group was delegated owns nothing above it.
func (m *Manager) enable(names ...string) error {
	have, err := read(m.v2.dir, "cgroup.controllers")
	if err != nil {
		return err
	}
	names = without(names, have+" "+core)
	if len(names) == 0 {
		return nil
	}
	all, err := read(m.v2.root, "cgroup.controllers")
	if err != nil {
		return err
	}
	if absent := without(names, all); len(absent) > 0 {
		return m.noController(absent[0])
	}
	for dir := m.v2.root; dir != m.v2.dir; dir = next(dir, m.v2.dir) {
		if err := handDown(dir, names); err != nil {
			return err
		}
	}
	return nil
}

// handDown enables controllers for the groups below dir.
func handDown(dir string, names []string) error {
	given, err := read(dir, "cgroup.subtree_control")
	if err != nil {
		return err
	}
	lacking := without(names, given)
	if len(lacking) == 0 {
		return nil
	}
	value := "+" + strings.Join(lacking, " +")
	if inhabited(dir) {
		return writeError(dir, "cgroup.subtree_control", value, unix.EBUSY)
	}
	return write(dir, "cgroup.subtree_control", value)
}

// inhabited reports whether the group, not one below it, holds processes. The
// kernel refuses to hand memory or io down from such a group. But it takes cpu,
// cpuset and pids, for threads, and from then on no process can enter a group
// below (cgroup.type "domain invalid"): that must not happen by accident. The
// root, which alone has no cgroup.type, may have processes.
func inhabited(dir string) bool {
	pids, err := readAll(dir + "/cgroup.procs")
	return err == nil && pids != "" && exists(dir, "cgroup.type")
}

// without returns the names that are not words of list.
func without(names []string, list string) []string {
	words := strings.Fields(list)
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.Contains(words, name)
	})
}

// next returns the directory one level below dir on the way to target.
func next(dir, target string) string {
	rest := strings.TrimPrefix(target, dir+"/")
	name, _, _ := strings.Cut(rest, "/")
	return path.Join(dir, name)
}
