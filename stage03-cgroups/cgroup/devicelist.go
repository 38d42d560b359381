// The device list of a v1 group, as security/device_cgroup.c in the kernel
// keeps it: a default and exceptions from it. It is computed here before any
// rule is written, because the kernel is silent where it cannot obey: told to
// deny c 1:3 after c 1:* was allowed, it finds no exception with exactly these
// numbers, changes nothing, and reports success. The container would keep a
// device that its configuration takes away.

package cgroup

import (
	"fmt"
	"slices"
	"strings"
)

// deviceList is what a group allows: everything but the exceptions, or nothing
// but them.
type deviceList struct {
	allow      bool
	exceptions []deviceRule
}

// apply changes the list as the kernel would, or returns an error where the
// kernel would not do what the rule says.
func (l *deviceList) apply(r deviceRule) error {
	if r.kind == 'a' {
		*l = deviceList{allow: r.allow}
		return nil
	}
	if r.allow != l.allow {
		l.exceptions = append(l.exceptions, r)
		return nil
	}
	for i := range l.exceptions {
		e := &l.exceptions[i]
		switch {
		case e.kind == r.kind && e.major == r.major && e.minor == r.minor:
			e.access = minus(e.access, r.access)
		case e.overlaps(r):
			return invalid("devices: %q cannot be taken out of %q: cgroup v1 takes out only the same numbers", r, *e)
		}
	}
	l.exceptions = slices.DeleteFunc(l.exceptions, func(e deviceRule) bool { return e.access == "" })
	return nil
}

// overlaps reports whether one access to one device is meant by both.
func (d deviceRule) overlaps(other deviceRule) bool {
	meet := func(a, b int64) bool { return a == b || a == wildcard || b == wildcard }
	return d.kind == other.kind && meet(d.major, other.major) && meet(d.minor, other.minor) &&
		strings.ContainsAny(d.access, other.access)
}

// minus returns the letters of access that are not in taken.
func minus(access, taken string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(taken, r) {
			return -1
		}
		return r
	}, access)
}

// changes are the rules that make then of l, both of which deny all but their
// exceptions: first what is allowed more, then what no longer is.
func (l *deviceList) changes(then *deviceList) []deviceRule {
	var rules []deviceRule
	add := func(allow bool, of, without *deviceList) {
		for _, e := range of.exceptions {
			e.allow, e.access = allow, minus(e.access, without.accessTo(e))
			if e.access != "" {
				rules = append(rules, e)
			}
		}
	}
	add(true, then, l)
	add(false, l, then)
	return rules
}

// accessTo is what the list's exceptions with exactly these numbers say.
func (l *deviceList) accessTo(d deviceRule) (access string) {
	for _, e := range l.exceptions {
		if e.kind == d.kind && e.major == d.major && e.minor == d.minor {
			access += e.access
		}
	}
	return access
}

// currentDevices returns the list that rules will change.
func currentDevices(dir string) (*deviceList, error) {
	text, err := read(dir, "devices.list")
	if err != nil {
		return nil, err
	}
	list := &deviceList{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "a ") {
			return &deviceList{allow: true}, nil // the kernel does not show exceptions from this
		}
		e, err := parseDevice(line)
		if err != nil {
			return nil, fmt.Errorf("cgroup: read %q: %w", dir+"/devices.list", err)
		}
		list.exceptions = append(list.exceptions, e)
	}
	return list, nil
}

// parseDevice reads a line of devices.list: "c 136:* rwm".
func parseDevice(line string) (deviceRule, error) {
	d := deviceRule{allow: true}
	var major, minor string
	numbers := strings.NewReplacer(":", " ").Replace(line)
	if _, err := fmt.Sscanf(numbers, "%c %s %s %s", &d.kind, &major, &minor, &d.access); err != nil {
		return d, fmt.Errorf("line %q: %w", line, err)
	}
	for _, n := range []struct {
		text string
		to   *int64
	}{{major, &d.major}, {minor, &d.minor}} {
		if n.text == "*" {
			*n.to = wildcard
		} else if _, err := fmt.Sscan(n.text, n.to); err != nil {
			return d, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return d, nil
}
