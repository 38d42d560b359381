// Resources: from the OCI runtime specification's words (config-linux.md,
// "Control groups") to the files of each controller. This table is the index
// of the package: a controller that has limits has a line and a file here.

package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// controller knows how one kind of limit is written.
type controller struct {
	v1, v2 string // its name in each version; v2 "": it needs no enabling
	asked  func(r *specs.LinuxResources) bool
	setV1  func(dir string, r *specs.LinuxResources) error
	setV2  func(dir string, r *specs.LinuxResources) error // nil: v2 has no such thing
}

var controllers = [...]controller{
	{"memory", "memory", memoryAsked, setMemoryV1, setMemoryV2},
	{"cpu", "cpu", cpuAsked, setCPUV1, setCPUV2},
	{"cpuset", "cpuset", cpusetAsked, setCpuset, setCpuset},
	{"pids", "pids", pidsAsked, setPids, setPids},
	{"blkio", "io", blkioAsked, setBlkioV1, setBlkioV2},
	{"hugetlb", "hugetlb", hugetlbAsked, setHugetlbV1, setHugetlbV2},
	{"rdma", "rdma", rdmaAsked, setRdma, setRdma},
	{"net_cls", "", netClsAsked, setNetCls, nil},
	{"net_prio", "", netPrioAsked, setNetPrio, nil},
}

// devices come last: a filter that was replaced cannot be put back.
var devices = controller{"devices", "", devicesAsked, setDevicesV1, setDevicesV2}

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
	if len(r.Unified) > 0 {
		u.add(func() error { return m.setUnified(r.Unified) }, m.unifiedFiles(r.Unified))
	}
	if err := m.plan(&u, devices, r); err != nil {
		return err
	}
	return u.run()
}

// plan adds to u the limits of one controller, if there are some.
func (m *Manager) plan(u *update, c controller, r *specs.LinuxResources) error {
	if !c.asked(r) {
		return nil
	}
	dir, write, err := m.writer(c)
	if err != nil {
		return err
	}
	u.add(func() error { return write(dir, r) }, saidBy(dir, filesOf(c.v1, r)...))
	return nil
}

// writer returns where and how the limits of a controller are written: in v1 if a
// v1 hierarchy has it, as a controller is in one hierarchy at a time (cgroups(7)).
func (m *Manager) writer(c controller) (dir string, write func(string, *specs.LinuxResources) error, err error) {
	if dir, ok := m.v1Dir(c.v1); ok {
		return dir, c.setV1, nil
	}
	if c.setV2 == nil && len(m.v1) == 0 {
		err := fmt.Errorf("cgroup: controller %q: %w", c.v1, ErrNoController)
		return "", nil, hint.Add(err, "cgroup v2 has none: firewall rules match the group itself (nft: socket cgroupv2)")
	}
	if m.v2 == nil || c.setV2 == nil {
		return "", nil, m.noController(c.v1)
	}
	if c.v2 != "" {
		if err := m.enable(c.v2); err != nil {
			return "", nil, err
		}
	}
	return m.v2.dir, c.setV2, nil
}

// set reports whether a number was mentioned: given, and not 0.
func set[T int64 | uint64 | uint16](n *T) bool { return n != nil && *n != 0 }

// setting is one value for one file.
type setting struct{ file, value string }

// writeAll writes settings in order, and leaves out those without a value.
func writeAll(dir string, settings ...setting) error {
	for _, s := range settings {
		if s.value == "" {
			continue
		}
		if err := write(dir, s.file, s.value); err != nil {
			return err
		}
	}
	return nil
}

// writeEither writes settings that bound each other. One that is in conflict with
// an old value of another is refused, and tried again when the other is written:
// whichever way the limits move, there is an order that leads there.
func writeEither(dir string, settings ...setting) error {
	for {
		var refused []setting
		var first error
		for _, s := range settings {
			err := writeAll(dir, s)
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
