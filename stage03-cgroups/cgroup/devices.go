// Devices: which device nodes a group's processes may open and make. A list of
// rules is applied in order, and a later rule wins (runtime-spec
// config-linux.md, "Allowed Device list").
//
// v1 has a controller (admin-guide/cgroup-v1/devices): a group either allows
// all devices but its exceptions, or denies all but its exceptions, and each
// rule is a line for devices.allow or devices.deny. v2 has no files: a BPF
// program of type BPF_PROG_TYPE_CGROUP_DEVICE decides (devicefilter.go).

package cgroup

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// DefaultDevices returns the rules for the devices that every container has,
// whatever its configuration says (runtime-spec config-linux.md, "Default
// Devices"). A caller puts them behind the rules of the configuration, which
// usually begins with denying everything.
//
// Making any node (mknod) is allowed as well: unpacking an archive needs it,
// and a node that may not be opened is harmless.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	const any = -1
	var rules []specs.LinuxDeviceCgroup
	for _, d := range [...]struct {
		kind         string
		major, minor int64
		access       string
	}{
		{"c", any, any, "m"},
		{"b", any, any, "m"},
		{"c", 1, 3, "rwm"},     // /dev/null
		{"c", 1, 5, "rwm"},     // /dev/zero
		{"c", 1, 7, "rwm"},     // /dev/full
		{"c", 1, 8, "rwm"},     // /dev/random
		{"c", 1, 9, "rwm"},     // /dev/urandom
		{"c", 5, 0, "rwm"},     // /dev/tty
		{"c", 5, 1, "rwm"},     // /dev/console
		{"c", 5, 2, "rwm"},     // /dev/ptmx
		{"c", 136, any, "rwm"}, // /dev/pts/*
	} {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: d.kind, Access: d.access}
		if d.major != any {
			rule.Major = &d.major
		}
		if d.minor != any {
			rule.Minor = &d.minor
		}
		rules = append(rules, rule)
	}
	return rules
}

// deviceRule is one rule of the specification in the kernel's terms: it speaks
// of character or of block devices, never of both.
type deviceRule struct {
	allow        bool
	kind         byte  // 'c' or 'b'; 'a': everything, and then nothing else counts
	major, minor int64 // wildcard for all
	access       string
}

// wildcard is a major or minor number that stands for all.
const wildcard = -1

// The greatest numbers that a device has: include/linux/kdev_t.h in the kernel.
// Beyond them is the one that a v1 group takes for all devices, 1<<32 − 1.
const (
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// String formats the rule as a line for devices.allow and devices.deny.
func (d deviceRule) String() string {
	if d.kind == 'a' {
		return "a"
	}
	number := func(n int64) string {
		if n == wildcard {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%c %s:%s %s", d.kind, number(d.major), number(d.minor), d.access)
}

// deviceRules translates the rules. The kernel takes a line that begins with
// "a" for everything, however narrow the rest of it is: such a rule becomes two.
func deviceRules(rules []specs.LinuxDeviceCgroup) ([]deviceRule, error) {
	var out []deviceRule
	for i, r := range rules {
		d := deviceRule{r.Allow, 'a', wildcard, wildcard, r.Access}
		if r.Major != nil {
			d.major = *r.Major
		}
		if r.Minor != nil {
			d.minor = *r.Minor
		}
		if d.major < wildcard || d.minor < wildcard || d.major > maxMajor || d.minor > maxMinor {
			return nil, invalid("devices: rule %d: there is no device %d:%d", i, d.major, d.minor)
		}
		if r.Access == "" || strings.Trim(r.Access, "rwm") != "" {
			return nil, invalid("devices: rule %d: access %q is not made of r, w and m", i, r.Access)
		}
		switch r.Type {
		case "c", "b":
			d.kind = r.Type[0]
			out = append(out, d)
		case "", "a":
			if d.major == wildcard && d.minor == wildcard && minus("rwm", d.access) == "" {
				out = append(out, d)
				continue
			}
			char, block := d, d
			char.kind, block.kind = 'c', 'b'
			out = append(out, char, block)
		default:
			return nil, invalid("devices: rule %d: type %q is not a, b or c", i, r.Type)
		}
	}
	return out, nil
}

// setDevices keeps the rules. In v2 the group's filter is replaced as a whole.
func (m *Manager) setDevices(asked []specs.LinuxDeviceCgroup) error {
	rules, err := deviceRules(asked)
	if err != nil {
		return err
	}
	dir, v1, err := m.home("devices", core)
	switch {
	case err != nil:
		return err
	case v1:
		return setDevicesV1(dir, rules)
	}
	return setFilter(dir, rules)
}

// setDevicesV1 writes the rules in order; but where the group denies all but
// exceptions, before and after, only what is different. Processes that run would
// otherwise have no device for a moment, and if this one is killed in it, for
// ever. (Nor does the kernel take "a" from a group that has others below it.)
func setDevicesV1(dir string, rules []deviceRule) error {
	now, err := currentDevices(dir)
	if err != nil {
		return err
	}
	then := &deviceList{now.allow, slices.Clone(now.exceptions)}
	for _, rule := range rules {
		if err := then.apply(rule); err != nil {
			return err
		}
	}
	if !now.allow && !then.allow {
		rules = now.changes(then)
	}
	return writeDevices(dir, rules)
}

// writeDevices opens each file once; each write is one rule.
func writeDevices(dir string, rules []deviceRule) error {
	var files [2]int // devices.deny, devices.allow
	for i, name := range [...]string{"devices.deny", "devices.allow"} {
		var err error
		if files[i], err = openControl(unix.AT_FDCWD, dir+"/"+name); err != nil {
			return fmt.Errorf("cgroup: open %q: %w", dir+"/"+name, err)
		}
		defer unix.Close(files[i])
	}
	for _, rule := range rules {
		file, fd := "devices.deny", files[0]
		if rule.allow {
			file, fd = "devices.allow", files[1]
		}
		if err := writeFd(fd, rule.String()); err != nil {
			return writeError(dir, file, rule.String(), err)
		}
	}
	return nil
}
