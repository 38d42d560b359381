package namespace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
)

// Ids for an ordinary user: root lends ranges of them in /etc/subuid and
// /etc/subgid (subuid(5), subgid(5)), and newuidmap(1) and newgidmap(1), which
// run with the rights of root, map what is lent.

// OwnMaps returns maps that the present user may write.
//
// For an ordinary user, root in the namespace is the user himself, so that
// what the container's root writes is his; the ids from 1 on are those lent to
// him, if newuidmap(1) is installed. Otherwise there is the one id.
//
// For root, root in the namespace is the first of the ids lent to root, so
// that a process that gets out of its container is nobody. If none are lent,
// all ids are mapped to themselves, and user namespaces separate capabilities
// only: root inside is root to the host's files.
func OwnMaps() (m Maps, err error) {
	if m.UIDs, err = uidMap.ofUser(); err != nil {
		return m, err
	}
	m.GIDs, err = gidMap.ofUser()
	return m, err
}

// ofUser is one of the maps that OwnMaps returns.
func (m idMap) ofUser() ([]specs.LinuxIDMapping, error) {
	privileged, err := m.privileged()
	if err != nil {
		return nil, err
	}
	existing, err := user.ParseIDMapFile("/proc/self/" + m.file)
	if err != nil {
		return nil, fmt.Errorf("look at our own ids: %w", err)
	}
	lent, err := m.lent(existing)
	if err != nil {
		return nil, err
	}
	if privileged {
		if len(lent) == 0 {
			return identity(existing), nil
		}
		return appendRanges(nil, lent), nil
	}
	self := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(m.own()), Size: 1}}
	if _, err := exec.LookPath(m.tool); err != nil {
		return self, nil
	}
	return appendRanges(self, lent), nil
}

// lent are the ranges that root lends to the present user, by name or number.
// Only those count that exist in this user namespace: a container has a file
// of its own, written for a host. A user without a name gets nothing from
// newuidmap(1), and so nothing here.
func (m idMap) lent(existing []user.IDMap) ([]user.SubID, error) {
	self, err := user.LookupUid(os.Getuid())
	if errors.Is(err, user.ErrNoPasswdEntries) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the name of user %d: %w", os.Getuid(), err)
	}
	lent, err := user.ParseSubIDFileFilter(m.ranges, func(r user.SubID) bool {
		return (r.Name == self.Name || r.Name == strconv.Itoa(self.Uid)) && within(r, existing)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look for subordinate ids: %w", err)
	}
	return lent, nil
}

// within tells whether a range lies within one of those that exist.
func within(r user.SubID, existing []user.IDMap) bool {
	for _, e := range existing {
		if r.Count > 0 && r.SubID >= e.ID && r.SubID-e.ID <= e.Count-r.Count {
			return true
		}
	}
	return false
}

// identity maps all ids that exist to themselves.
func identity(existing []user.IDMap) []specs.LinuxIDMapping {
	var all []specs.LinuxIDMapping
	for _, e := range existing {
		all = append(all, specs.LinuxIDMapping{ContainerID: uint32(e.ID), HostID: uint32(e.ID), Size: uint32(e.Count)})
	}
	return all
}

// appendRanges maps the next free ids of the namespace to ranges. What is
// listed twice, or more than a map takes, is left out.
func appendRanges(all []specs.LinuxIDMapping, ranges []user.SubID) []specs.LinuxIDMapping {
	for _, r := range ranges {
		next := uint32(0)
		if len(all) > 0 {
			last := all[len(all)-1]
			next = last.ContainerID + last.Size
		}
		more := append(all[:len(all):len(all)],
			specs.LinuxIDMapping{ContainerID: next, HostID: uint32(r.SubID), Size: uint32(r.Count)})
		if checkMap("", more) == nil {
			all = more
		}
	}
	return all
}

// writeByTool has newuidmap(1) or newgidmap(1) write a map.
func (m idMap) writeByTool(pid int, mappings []specs.LinuxIDMapping) error {
	text := mapText(mappings)
	what := fmt.Sprintf("write %s %q", m.file, strings.TrimSpace(text))
	path, err := exec.LookPath(m.tool)
	if err != nil {
		return hint.Add(fmt.Errorf("%s: more than one's own id takes %s: %w", what, m.tool, errors.Unwrap(err)),
			m.tool+" comes with the package uidmap; without it an ordinary user can map his own id only")
	}
	said, err := exec.Command(path, append([]string{strconv.Itoa(pid)}, strings.Fields(text)...)...).CombinedOutput()
	if err != nil {
		return hint.Add(fmt.Errorf("%s: %s: %w", what, strings.TrimSpace(string(said)), err),
			fmt.Sprintf("%s must lend these ids to the user, as in \"%s:100000:65536\"; see sub%s(5)",
				m.ranges, userName(), strings.TrimSuffix(m.file, "_map")))
	}
	return nil
}

// userName is how /etc/subuid may call the present user.
func userName() string {
	if u, err := user.LookupUid(os.Getuid()); err == nil {
		return u.Name
	}
	return strconv.Itoa(os.Getuid())
}
