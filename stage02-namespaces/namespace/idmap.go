package namespace

import (
	"errors"
	"fmt"
	"os"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/namespace/whynot"
)

// Who is who in a user namespace: /proc/PID/uid_map, gid_map and setgroups,
// user_namespaces(7), "Defining user and group ID mappings".

// Maps say which ids of the outside the ids in a user namespace are.
type Maps struct{ UIDs, GIDs []specs.LinuxIDMapping }

// Write writes the maps of a new user namespace, given by a process in it. The
// process must wait meanwhile: until then its ids are those of nobody. A
// namespace gets its maps once.
//
// There are three ways, for user and group ids apart. Who has CAP_SETUID or
// CAP_SETGID writes any map. Everybody may map his own id, and only that; for
// a group id at the price of setgroups(2), which is denied from then on: by
// leaving a group a process could get at what is closed to that group
// (CVE-2014-8989). For more, newuidmap(1) and newgidmap(1) look into
// /etc/subuid and /etc/subgid and write what stands there: see subid.go.
func (m Maps) Write(pid int) error {
	if err := m.check(); err != nil {
		return err
	}
	if err := uidMap.write(pid, m.UIDs); err != nil {
		return err
	}
	return gidMap.write(pid, m.GIDs)
}

// DeniesSetgroups tells whether setgroups(2) will be refused (EPERM) in a
// user namespace whose maps this process writes: when the only group is its
// own (see Write), or when it is in a user namespace with that rule itself,
// which is inherited.
func (m Maps) DeniesSetgroups() (bool, error) {
	inherited, err := SetgroupsDenied(os.Getpid())
	if err != nil || inherited {
		return inherited, err
	}
	privileged, err := gidMap.privileged()
	return !privileged && gidMap.isOwn(m.GIDs), err
}

// SetgroupsDenied tells whether setgroups(2) is refused in the user namespace
// of a process: /proc/PID/setgroups.
func SetgroupsDenied(pid int) (bool, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/setgroups", pid))
	if err != nil {
		return false, fmt.Errorf("look whether setgroups is denied: %w", err)
	}
	return strings.TrimSpace(string(text)) == "deny", nil
}

// An idMap is one of the two maps of a user namespace.
type idMap struct {
	file       string // below /proc/PID
	field      string // in a container's configuration
	tool       string // who writes ranges for an ordinary user
	ranges     string // the file that says which
	capability int    // what it takes to map any id
	own        func() int
}

var (
	uidMap = idMap{"uid_map", "uidMappings", "newuidmap", "/etc/subuid", unix.CAP_SETUID, os.Geteuid}
	gidMap = idMap{"gid_map", "gidMappings", "newgidmap", "/etc/subgid", unix.CAP_SETGID, os.Getegid}
)

// write writes one map, in the first of the three ways that is open.
func (m idMap) write(pid int, mappings []specs.LinuxIDMapping) error {
	privileged, err := m.privileged()
	switch {
	case err != nil:
		return err
	case privileged:
		return m.writeFile(pid, mappings)
	case !m.isOwn(mappings):
		return m.writeByTool(pid, mappings)
	}
	if m.file == gidMap.file {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/setgroups", pid), []byte("deny"), 0); err != nil {
			return m.refused(fmt.Errorf("deny setgroups: %w", hint.Reason(err)))
		}
	}
	return m.writeFile(pid, mappings)
}

// privileged tells whether this process may map any id of its own user
// namespace.
func (m idMap) privileged() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, fmt.Errorf("look at our own capabilities: %w", err)
	}
	return data[0].Effective&(1<<m.capability) != 0, nil // both are below 32
}

// isOwn tells whether nothing but the caller's own id is mapped.
func (m idMap) isOwn(mappings []specs.LinuxIDMapping) bool {
	return len(mappings) == 1 && mappings[0].Size == 1 && int(mappings[0].HostID) == m.own()
}

// writeFile writes a map itself. The kernel takes it in a single write only.
func (m idMap) writeFile(pid int, mappings []specs.LinuxIDMapping) error {
	text := mapText(mappings)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, m.file), []byte(text), 0); err != nil {
		return m.refused(fmt.Errorf("write %s %q: %w", m.file, strings.TrimSpace(text), hint.Reason(err)))
	}
	return nil
}

// refused adds the usual cause to a failed write.
func (m idMap) refused(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		err = hint.Add(err, whynot.Restricted())
	}
	return hint.Add(err, "the ids must exist in this user namespace, and the process must be in a new one of which no map is written yet")
}

// mapText is a map as the kernel reads it, a line a range.
func mapText(mappings []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, r := range mappings {
		fmt.Fprintf(&b, "%d %d %d\n", r.ContainerID, r.HostID, r.Size)
	}
	return b.String()
}
