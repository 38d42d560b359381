// Hierarchies: which cgroup file systems this machine has, and where.
// /proc/self/mountinfo says what is mounted where (proc(5)); /proc/self/cgroup
// has one line for each hierarchy and says which controllers each one holds
// (cgroups(7)). Both are read once.

package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Mode says which versions of cgroups a machine has.
type Mode int

// The three kinds of machine.
const (
	Unified Mode = iota // v2 only
	Legacy              // v1 only
	Hybrid              // both
)

func (m Mode) String() string {
	return [...]string{"unified", "legacy", "hybrid"}[m]
}

// Hierarchy is one mounted cgroup file system.
type Hierarchy struct {
	// Controllers are what a v1 hierarchy holds: one, or a few that are mounted
	// together, or a name alone ("name=systemd"). Always empty for v2, where
	// each group says in cgroup.controllers what it may use.
	Controllers []string
	// MountPoint is where it can be reached, an absolute path.
	MountPoint string
	// Self is the path of the reading process's own group, relative to the root
	// of its cgroup namespace.
	Self string
}

// Hierarchies are all hierarchies of a machine that are mounted.
type Hierarchies struct {
	V1 []Hierarchy
	V2 *Hierarchy // nil: none
}

// Mode says which kind of machine this is.
func (h *Hierarchies) Mode() Mode {
	switch {
	case h.V2 == nil:
		return Legacy
	case len(h.V1) == 0:
		return Unified
	}
	return Hybrid
}

// Detect finds the hierarchies that this process can reach.
func Detect() (*Hierarchies, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return parse(string(mounts), string(self), reachable)
}

// Parse finds the hierarchies in what another machine's /proc/self/mountinfo
// and /proc/self/cgroup say. It looks at nothing else.
func Parse(mountinfo, selfCgroup string) (*Hierarchies, error) {
	return parse(mountinfo, selfCgroup, func(mount) bool { return true })
}

// reachable reports whether the mount point leads to that mount: mountinfo
// also lists mounts that a later one hides, as when a container engine puts a
// new tmpfs on /sys/fs/cgroup.
func reachable(m mount) bool {
	var st unix.Stat_t
	if unix.Stat(m.point, &st) != nil {
		return false
	}
	return m.device == fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
}

// parse joins the two files: a hierarchy is one line of /proc/self/cgroup
// ("4:memory:/user", "3:cpu,cpuacct:/", "1:name=systemd:/", v2: "0::/user"),
// and its mount is the one whose options name the same controllers.
func parse(mountinfo, selfCgroup string, reachable func(mount) bool) (*Hierarchies, error) {
	mounts, err := cgroupMounts(mountinfo)
	if err != nil {
		return nil, err
	}
	mounts = slices.DeleteFunc(mounts, func(m mount) bool { return !reachable(m) })
	h := &Hierarchies{}
	for line := range strings.Lines(selfCgroup) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("cgroup: /proc/self/cgroup: line %q: want three fields", line)
		}
		h.add(mounts, f[0] == "0", f[1], f[2])
	}
	if h.V2 == nil && len(h.V1) == 0 {
		err := errors.New("cgroup: no cgroup file system is mounted")
		return nil, hint.Add(err, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
	return h, nil
}

// add adds the hierarchy with controllers, if it is mounted. A controller that
// is compiled in but mounted nowhere has a line as well: a member of the
// default hierarchy, or a leftover of an unmounted one.
func (h *Hierarchies) add(mounts []mount, v2 bool, controllers, self string) {
	var names []string
	if !v2 {
		names = strings.Split(controllers, ",")
	}
	for _, m := range mounts {
		if m.v2 != v2 || !m.holds(names) {
			continue
		}
		found := Hierarchy{Controllers: names, MountPoint: m.point, Self: self}
		if v2 {
			h.V2 = &found
		} else {
			h.V1 = append(h.V1, found)
		}
		return
	}
}

// mount is one line of mountinfo.
type mount struct {
	device  string   // "0:29": st_dev of what is in it
	root    string   // which directory of the file system is mounted
	point   string   // where
	v2      bool     // file system type cgroup2, otherwise cgroup
	options []string // of the file system: for v1, its controllers among others
}

// holds reports whether the options name every one of the controllers.
func (m mount) holds(controllers []string) bool {
	return !slices.ContainsFunc(controllers, func(c string) bool { return !slices.Contains(m.options, c) })
}

// cgroupMounts returns the mounts of cgroup file systems, the best first: a
// hierarchy may be mounted several times, and the one to use is under
// /sys/fs/cgroup, or else shows the whole hierarchy rather than a part.
func cgroupMounts(mountinfo string) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(mountinfo) {
		m, ok, err := cgroupMount(line)
		if err != nil {
			return nil, err
		}
		if ok {
			mounts = append(mounts, m)
		}
	}
	rank := func(m mount) int {
		switch {
		case m.point == "/sys/fs/cgroup", strings.HasPrefix(m.point, "/sys/fs/cgroup/"):
			return 0
		case m.root == "/":
			return 1
		}
		return 2
	}
	slices.SortStableFunc(mounts, func(a, b mount) int { return cmp.Compare(rank(a), rank(b)) })
	return mounts, nil
}

// cgroupMount reads one line of mountinfo; ok is false for other file systems.
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
//	      dev  root  mount point       options     any number  type   source  options
func cgroupMount(line string) (m mount, ok bool, err error) {
	// Most lines are of other file systems: leave them before splitting.
	if !strings.Contains(line, " - cgroup") {
		return mount{}, false, nil
	}
	front, back, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
	f, b := strings.Fields(front), strings.Fields(back)
	if len(f) < 6 || len(b) < 3 {
		return mount{}, false, fmt.Errorf("cgroup: /proc/self/mountinfo: line %q: too few fields", line)
	}
	if b[0] != "cgroup" && b[0] != "cgroup2" {
		return mount{}, false, nil
	}
	return mount{
		device: f[2], root: unescape(f[3]), point: unescape(f[4]),
		v2: b[0] == "cgroup2", options: strings.Split(b[2], ","),
	}, true, nil
}

// unescape undoes what the kernel does to a space, tab, newline and backslash
// in a path of mountinfo: \ and three octal digits.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s // as nearly always: to make the replacer takes longer than all else here
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
