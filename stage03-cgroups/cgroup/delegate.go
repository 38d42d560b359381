// Delegation: giving a group to an ordinary user, who may then make groups below
// it, move processes among them and hand controllers down, but not change the
// limits of the group itself (cgroups(7), "Cgroups delegation"). It is a matter
// of who owns three files and the directory. Only v2 makes it safe: in v1 the
// owner of a group can undo its limits.

package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// delegateList is where the kernel says which files an owner of a group needs.
const delegateList = "/sys/kernel/cgroup/delegate"

// Delegate gives the group's v2 directory to a user, with those of its files
// that /sys/kernel/cgroup/delegate names and that are there (runtime-spec
// config-linux.md, "Cgroup ownership"; that section also says when a runtime
// should). uid and gid are numbers of the caller's user namespace. Groups of v1
// stay as they are; a machine without v2 is an error for which
// errors.Is(err, errors.ErrUnsupported) holds.
func (m *Manager) Delegate(uid, gid int) error {
	if m.v2 == nil {
		return fmt.Errorf("cgroup: delegate: %w: only groups of cgroup v2 are given to others, and no v2 hierarchy is mounted", errors.ErrUnsupported)
	}
	names, err := delegated()
	if err != nil {
		return err
	}
	for _, name := range append([]string{""}, names...) {
		place := filepath.Join(m.v2.dir, name)
		err := unix.Lchown(place, uid, gid)
		if err != nil && (name == "" || err != unix.ENOENT) {
			return fmt.Errorf("cgroup: chown %q to %d:%d: %w", place, uid, gid, err)
		}
	}
	return nil
}

// delegated returns the names of the files that go with a group.
func delegated() ([]string, error) {
	text, err := readAll(delegateList)
	if err == unix.ENOENT { // no sysfs: the specification's list
		return []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: read %q: %w", delegateList, err)
	}
	return strings.Fields(text), nil
}
