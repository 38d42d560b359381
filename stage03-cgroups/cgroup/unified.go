// Unified: the specification's `unified` map names files of the v2 hierarchy
// and what to write to them (config-linux.md, "Unified"). Whatever the file is,
// known to us or not, it is written; its controller, the word before the first
// dot, is enabled first. Of the core's own files some are no limits but commands,
// and those are refused: a pid in cgroup.procs would draw any process of the host
// into the container's group, and to its end.

package cgroup

import (
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

func (m *Manager) setUnified(files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	if m.v2 == nil {
		err := fmt.Errorf("cgroup: unified: %w: no cgroup v2 hierarchy is mounted", errors.ErrUnsupported)
		return hint.Add(err, "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if err := m.setUnifiedFile(file, files[file]); err != nil {
			return err
		}
	}
	return nil
}

// setUnifiedFile writes one file. Some files take one line a write (io.max):
// each line of the value is a write of its own. An empty value is one as well:
// it takes cpuset.cpus back.
func (m *Manager) setUnifiedFile(file, value string) error {
	controller, _, dotted := strings.Cut(file, ".")
	if !dotted || strings.Contains(file, "/") {
		return invalid("unified: %q is not the name of a cgroup file", file)
	}
	if slices.Contains(commands[:], file) {
		err := invalid("unified: %q is a command to the group, and no limit", file)
		return hint.Add(err, "of the files that begin with cgroup, limits are cgroup.max.depth and cgroup.max.descendants")
	}
	if controller != "cgroup" { // the core's own files are always there
		if err := m.enable(controller); err != nil {
			return err
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(value, "\n"), "\n") {
		if err := write(m.v2.dir, file, line); err != nil {
			return err
		}
	}
	return nil
}
