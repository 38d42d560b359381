// Unified: the specification's `unified` map names files of the v2 hierarchy
// and what to write to them (config-linux.md, "Unified"). Whatever the file is,
// known to us or not, it is written; its controller, the word before the first
// dot, is enabled first. Of the core's own files some are no limits but commands,
// and those are refused: a pid in cgroup.procs would draw any process of the host
// into the container's group, and to its end.

package cgroup

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"skiff.example/stage01-chroot/hint"
)

// commands are the files that do something, and bound nothing: admin-guide/cgroup-v2,
// "Core Interface Files".
var commands = [...]string{
	"cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control",
}

// planUnified adds to u what is to be written to files by their names.
func (m *Manager) planUnified(u *update, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	if m.v2 == nil {
		err := fmt.Errorf("cgroup: unified: %w: no cgroup v2 hierarchy is mounted", errors.ErrUnsupported)
		return hint.Add(err, "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
	}
	var all []setting
	for _, file := range slices.Sorted(maps.Keys(files)) {
		controller, _, dotted := strings.Cut(file, ".")
		if !dotted || strings.Contains(file, "/") {
			return invalid("unified: %q is not the name of a cgroup file", file)
		}
		if slices.Contains(commands[:], file) {
			err := invalid("unified: %q is a command to the group, and no limit", file)
			return hint.Add(err, "of the files that begin with cgroup, limits are cgroup.max.depth and cgroup.max.descendants")
		}
		if err := m.enable(controller); err != nil {
			return err
		}
		// Some files take one line a write (io.max): each is a setting of its own.
		for line := range strings.SplitSeq(strings.TrimSuffix(files[file], "\n"), "\n") {
			all = append(all, to(file, cmp.Or(line, nothing)))
		}
	}
	u.add(m.v2.dir, all)
	return nil
}
