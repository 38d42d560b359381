// Resources: from the OCI runtime specification's words (config-linux.md,
// "Control groups") to the files of each controller. This table is the index
// of the package: a controller that has limits has a line and a file here.

package cgroup

import (
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
	v1, v2 string // its name in each version; v2 "": it needs no enabling
	asked  func(r *specs.LinuxResources) bool
	setV1  func(dir string, r *specs.LinuxResources) error
	setV2  func(dir string, r *specs.LinuxResources) error // nil: v2 has no such thing
}

var controllers = [...]controller{
	{"devices", "", devicesAsked, setDevicesV1, setDevicesV2},
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

// Set writes the limits of r, and leaves alone what r does not mention, so it
// serves for a first set and for an update. A nil r sets nothing.
//
// A number 0 means "not mentioned" for memory, cpu and block I/O, where it is
// what engines send for a limit that the user did not give and no program could
// live with it; it is a limit for pids and hugetlb. −1 means no limit.
//
// A limit whose controller is not there is an error for which
// errors.Is(err, ErrNoController) holds. The first error ends it.
func (m *Manager) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	for _, c := range controllers {
		if !c.asked(r) {
			continue
		}
		if err := m.set(c, r); err != nil {
			return err
		}
	}
	return m.setUnified(r.Unified)
}

// set writes the limits of one controller, in v1 if a v1 hierarchy has it:
// a controller is in one hierarchy at a time (cgroups(7)).
func (m *Manager) set(c controller, r *specs.LinuxResources) error {
	if dir, ok := m.v1Dir(c.v1); ok {
		return c.setV1(dir, r)
	}
	if c.setV2 == nil && len(m.v1) == 0 {
		err := fmt.Errorf("cgroup: controller %q: %w", c.v1, ErrNoController)
		return hint.Add(err, "cgroup v2 has none: firewall rules match the group itself (nft: socket cgroupv2)")
	}
	if m.v2 == nil || c.setV2 == nil {
		return m.noController(c.v1)
	}
	if c.v2 != "" {
		if err := m.enable(c.v2); err != nil {
			return err
		}
	}
	return c.setV2(m.v2.dir, r)
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

// writeEither writes settings that bound each other: whichever way the limits
// move, one of the two orders is never in conflict with the old values.
func writeEither(dir string, settings ...setting) error {
	settings = slices.DeleteFunc(settings, func(s setting) bool { return s.value == "" })
	err := writeAll(dir, settings...)
	if errors.Is(err, unix.EINVAL) && len(settings) > 1 {
		slices.Reverse(settings)
		return writeAll(dir, settings...)
	}
	return err
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
