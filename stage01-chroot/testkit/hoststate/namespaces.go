package hoststate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The namespaces that something keeps alive: namespaces(7). The kernel has no
// list of them. A namespace lives as long as a process is in it, a descriptor
// is open on it, or it is bind-mounted; we look in these three places.

// kinds are the names of a namespace's link in /proc/PID/ns. The two
// …_for_children links name what the next child would get, which an unshare
// that was not followed by a fork changes.
var kinds = []string{
	"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts",
}

// namespaces lists each namespace once, with one of its holders as the note.
func namespaces() ([]Thing, error) {
	holders := map[string]string{}
	for _, find := range []func(map[string]string) error{
		heldByMounts, heldByDescriptors, heldByThreads, heldByDescendants,
	} {
		if err := find(holders); err != nil {
			return nil, err
		}
	}
	var things []Thing
	for name, holder := range holders {
		things = append(things, Thing{Kind: "namespace", Name: name, Note: holder})
	}
	return things, nil
}

// heldByMounts finds bind mounts of namespaces, such as `ip netns add` makes.
// Their file system is nsfs, and its root names the namespace.
func heldByMounts(holders map[string]string) error {
	infos, err := readMountInfo()
	for _, m := range infos {
		if m.fstype == "nsfs" {
			holders[m.root] = fmt.Sprintf("mounted on %q", m.point)
		}
	}
	return err
}

// heldByDescriptors finds open descriptors of this process on a namespace.
func heldByDescriptors(holders map[string]string) error {
	open, err := openDescriptors()
	for _, d := range open {
		kind, _, _ := strings.Cut(d.target, ":[") // "net:[4026531840]", but also "socket:[1234]"
		if slices.Contains(kinds, kind) {
			holders[d.target] = fmt.Sprintf("held by descriptor %d of this process", d.number)
		}
	}
	return err
}

// heldByThreads finds what the threads of this process are in. They can be in
// different ones: a goroutine that is locked to its thread may have called
// unshare, and a thread that came back from there by mistake serves others.
func heldByThreads(holders map[string]string) error {
	threads, err := filepath.Glob("/proc/self/task/*/ns")
	for _, dir := range threads {
		readNamespaces(dir, "held by a thread of this process", holders)
	}
	return err
}

// heldByDescendants finds what the children of this process are in, and theirs.
func heldByDescendants(holders map[string]string) error {
	family, err := descendants()
	for _, p := range family {
		readNamespaces(fmt.Sprintf("/proc/%d/ns", p.pid), fmt.Sprintf("held by %s", p), holders)
	}
	return err
}

// readNamespaces adds the links of one /proc/…/ns. A process that has ended
// has none any more, so what cannot be read is not there.
func readNamespaces(dir, holder string, holders map[string]string) {
	for _, kind := range kinds {
		name, err := os.Readlink(filepath.Join(dir, kind))
		if err == nil && holders[name] == "" {
			holders[name] = holder
		}
	}
}
