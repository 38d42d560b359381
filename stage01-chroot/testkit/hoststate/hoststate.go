// Package hoststate takes a picture of everything that a container runtime
// can leave on a host, and tells two pictures apart.
//
// A container that ended should have no trace: no mount, no control group, no
// namespace, no network link, address, route or packet filter rule, no process
// (a dead one that nobody waits for is one too), no open descriptor, no state
// folder. The picture is read from the kernel itself, never from what a
// runtime believes that it made. A file of this package reads one subject.
//
//	before, err := hoststate.Take()
//	… run a container …
//	after, err := hoststate.Take()
//	for _, line := range before.Diff(after) {
//		fmt.Println(line) // mount left behind: /tmp/x: tmpfs tmpfs / rw,relatime tmpfs rw
//	}
//
// A picture covers the mount and network namespaces of the thread that takes
// it and the descendants of its process. All of it can be read as root only;
// packet filter rules need CAP_NET_ADMIN.
package hoststate

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Thing is one thing that a host has.
type Thing struct {
	Kind  string // what it is: "mount", "cgroup", "link", …
	Name  string // which one: a mount point, a group's path, a link's name, …
	Value string // how it is set up; two things with another value differ
	Note  string // how to find it; shown to people, never compared
}

// State is a picture of the host: its things, in the order of the
// subjects below, each sorted by kind and name.
type State []Thing

// subjects are the readers, one for each file of this package.
var subjects = []struct {
	name string
	read func() ([]Thing, error)
}{
	{"mounts", mounts},
	{"cgroups", cgroups},
	{"namespaces", namespaces},
	{"links", links},
	{"sysctls", sysctls},
	{"nft", nft},
	{"processes", processes},
	{"descriptors", descriptors},
	{"folders", folders},
}

// Take reads the present state of the host. It fails when a part of it cannot
// be read: half a picture would call every missing thing unchanged.
func Take() (State, error) {
	var s State
	for _, subject := range subjects {
		things, err := subject.read()
		if err != nil {
			return nil, fmt.Errorf("host state: %s: %w", subject.name, err)
		}
		slices.SortFunc(things, compare)
		s = append(s, things...)
	}
	return s, nil
}

func compare(a, b Thing) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
}

// Settle takes pictures until one shows no difference to s, or until limit has
// passed, and returns the differences of the last. The kernel takes namespaces
// and what is in them down after the last process has ended, on a work queue
// (cleanup_net, in net/core/net_namespace.c), so a picture may be too early.
// Before each picture it calls the functions given.
func (s State) Settle(limit time.Duration, before ...func() error) ([]string, error) {
	const interval = 20 * time.Millisecond
	for deadline := time.Now().Add(limit); ; time.Sleep(interval) {
		for _, call := range before {
			if err := call(); err != nil {
				return nil, err
			}
		}
		after, err := Take()
		if err != nil {
			return nil, err
		}
		diff := s.Diff(after)
		if len(diff) == 0 || time.Now().After(deadline) {
			return diff, nil
		}
	}
}

// Diff says what is different in after, one line a thing:
//
//	mount left behind: …     it is there only after
//	mount gone: …            it was there only before
//	sysctl changed: … 0 → 1  it is there in both, with another value
func (s State) Diff(after State) []string {
	gone, left := without(s, after), without(after, s)
	var lines []string
	for _, thing := range left {
		i := slices.IndexFunc(gone, func(g Thing) bool {
			return g.Kind == thing.Kind && g.Name == thing.Name
		})
		if i < 0 {
			lines = append(lines, thing.Kind+" left behind: "+thing.String())
			continue
		}
		lines = append(lines, fmt.Sprintf("%s changed: %s: %s → %s",
			thing.Kind, thing.Name, gone[i].Value, thing.Value))
		gone = slices.Delete(gone, i, i+1)
	}
	for _, thing := range gone {
		if !mayGo(thing.Kind) {
			lines = append(lines, thing.Kind+" gone: "+thing.String())
		}
	}
	return lines
}

// mayGo reports whether a thing of this kind may disappear without being
// missed. What belongs to this process and its children comes and goes with
// what ran before; only the host's own things must all still be there.
func mayGo(kind string) bool {
	return kind == "process" || kind == "descriptor" || kind == "namespace"
}

// without returns the things of a that b has not, counting: of two equal
// mounts on top of each other in a and one in b, one is returned.
func without(a, b State) []Thing {
	have := map[Thing]int{}
	for _, thing := range b {
		have[thing.key()]++
	}
	var rest []Thing
	for _, thing := range a {
		if have[thing.key()] > 0 {
			have[thing.key()]--
			continue
		}
		rest = append(rest, thing)
	}
	return rest
}

// key is the part of a thing that is compared.
func (t Thing) key() Thing {
	t.Note = ""
	return t
}

// String is "name: value (note)", as far as the thing has them.
func (t Thing) String() string {
	text := t.Name
	if t.Value != "" {
		text += ": " + t.Value
	}
	if t.Note != "" {
		text += " (" + t.Note + ")"
	}
	return text
}
