// Resources: from the OCI runtime specification's words (config-linux.md,
// "Control groups") to the files of each controller. This table is the index
// of the package: a controller that has limits has a line and a file here.

package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// controller knows how one kind of limit is written.
type controller struct {
	v1, v2 string // its name in each version; v2 "": that has no such thing
	// What r says, for the group dir. In dir "" v1 says what is asked for at all:
	// it has a file for everything.
	settingsV1, settingsV2 func(dir string, r *specs.LinuxResources) ([]setting, error)
}

var controllers = [...]controller{
	{"memory", "memory", memoryV1, memoryV2},
	{"cpu", "cpu", cpuV1, cpuV2},
	{"cpuset", "cpuset", cpuset, cpuset},
	{"pids", "pids", pids, pids},
	{"blkio", "io", blkioV1, blkioV2},
	{"hugetlb", "hugetlb", hugetlbV1, hugetlbV2},
	{"rdma", "rdma", rdma, rdma},
	{"net_cls", "", netCls, nil},
	{"net_prio", "", netPrio, nil},
}

// Set writes the limits of r, and leaves alone what r does not mention, so it
// serves for a first set and for an update. A nil r sets nothing.
//
// A number 0 means "not mentioned" for memory, cpu and block I/O, where it is
// what engines send for a limit that the user did not give and no program could
// live with it; it is a limit for pids and hugetlb. −1 means no limit.
//
// A limit whose controller is not there is an error for which
// errors.Is(err, ErrNoController) holds. The first error ends it, and what was
// written before is put back, as far as the kernel lets it: the old limit of
// memory may be below what is in use by now. Controllers that were enabled stay
// so. The error names what could not be put back.
func (m *Manager) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	var u update
	for _, c := range controllers {
		if err := m.plan(&u, c, r); err != nil {
			return err
		}
	}
	if err := m.planUnified(&u, r.Unified); err != nil {
		return err
	}
	// Devices come last: a filter that was replaced cannot be put back.
	if err := u.run(); err != nil || len(r.Devices) == 0 {
		return err
	}
	if err := m.setDevices(r.Devices); err != nil {
		return errors.Join(err, u.putBack())
	}
	return nil
}

// plan adds to u the limits of one controller, if there are some.
func (m *Manager) plan(u *update, c controller, r *specs.LinuxResources) error {
	asked, err := c.settingsV1("", r)
	if err != nil || !slices.ContainsFunc(asked, func(s setting) bool { return s.value != "" }) {
		return err
	}
	dir, v1, err := m.home(c.v1, c.v2)
	if err != nil {
		return err
	}
	settings := c.settingsV2
	if v1 {
		settings = c.settingsV1
	}
	all, err := settings(dir, r)
	if err == nil {
		u.add(dir, all)
	}
	return err
}

// home returns where the limits of a controller are written: in v1 if a v1 hierarchy
// has it, as a controller is in one hierarchy at a time (cgroups(7)).
func (m *Manager) home(inV1, inV2 string) (dir string, v1 bool, err error) {
	dir, v1 = m.v1Dir(inV1)
	switch {
	case v1:
		return dir, true, nil
	case inV2 == "" && len(m.v1) == 0:
		err := fmt.Errorf("cgroup: controller %q: %w", inV1, ErrNoController)
		return "", false, hint.Add(err, "cgroup v2 has none: firewall rules match the group itself (nft: socket cgroupv2)")
	case inV2 == "" || m.v2 == nil:
		return "", false, m.noController(inV1)
	}
	return m.v2.dir, false, m.enable(inV2)
}

// set reports whether a number was mentioned: given, and not 0.
func set[T int64 | uint64 | uint16](n *T) bool { return n != nil && *n != 0 }

// setting is one value for one file; "" is none, and leaves the file as it is.
type setting struct {
	file, value string
	spare       bool // where there is no such file, all is as it should be
}

// to makes a setting.
func to(file, value string) setting { return setting{file: file, value: value} }

// writeEither writes settings, of which some may bound each other. One that is in
// conflict with an old value of another is refused, and tried again when the other
// is written: whichever way the limits move, there is an order that leads there.
func writeEither(dir string, settings []setting) error {
	for {
		var refused []setting
		var first error
		for _, s := range settings {
			if s.value == "" || s.spare && !exists(dir, s.file) {
				continue
			}
			err := write(dir, s.file, s.value)
			if errors.Is(err, unix.EINVAL) {
				refused = append(refused, s)
				first = cmp.Or(first, err)
			} else if err != nil {
				return err
			}
		}
		if len(refused) == 0 || len(refused) == len(settings) {
			return first
		}
		settings = refused
	}
}

// number formats a limit that was mentioned; "" is none.
func number[T int64 | uint64 | uint16](n *T) string {
	if !set(n) {
		return ""
	}
	return given(n)
}

// given is number where 0 is a value as well.
func given[T int64 | uint64 | uint32 | uint16](n *T) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// unlimited is how v2 files, and pids.max in both versions, say "no limit".
const unlimited = "max"

// limit formats a limit for such a file: negative is no limit.
func limit(n int64) string {
	if n < 0 {
		return unlimited
	}
	return strconv.FormatInt(n, 10)
}

// parseLimit reads a limit back: no limit is NoLimit.
func parseLimit(text string) (uint64, error) {
	if text == unlimited {
		return NoLimit, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// invalid is the error for a value that cannot be meant.
func invalid(format string, args ...any) error {
	return fmt.Errorf("cgroup: "+format+": %w", append(args, unix.EINVAL)...)
}

// onlyV1 is the error for a value that cgroup v2 has no file for.
func onlyV1(name string) error {
	return fmt.Errorf("cgroup: %s: %w: cgroup v2 has nothing like it", name, errors.ErrUnsupported)
}
