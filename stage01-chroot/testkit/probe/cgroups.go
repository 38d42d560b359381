package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The control groups that this process is in, and their limits as far as they
// can be read below /sys/fs/cgroup: cgroups(7).

func cgroup(out io.Writer) error {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fmt.Fprint(out, "cgroup ", line)
	}
	return nil
}

// limitFiles are the files that hold limits, of version 2 and then 1.
var limitFiles = []string{
	"cpu.max", "cpu.weight", "cpuset.cpus", "cpuset.mems", "io.max", "io.weight",
	"memory.max", "memory.high", "memory.low", "memory.swap.max", "pids.max",
	"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us",
	"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes",
}

// limits reads each group at its path below the mount of its hierarchy, which
// is a folder named after the controllers. In a cgroup namespace the path is
// relative to the namespace's root, and so is the mount: they fit again.
func limits(out io.Writer) error {
	const top = "/sys/fs/cgroup"
	if _, err := os.Stat(top); err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return fmt.Errorf("not a control group: %q", line)
		}
		mount := filepath.Join(top, strings.TrimPrefix(fields[1], "name="))
		if err := limitsOf(out, filepath.Join(mount, fields[2])); err != nil {
			return err
		}
	}
	return nil
}

// limitsOf prints the limits of one group. Most groups have few of the files.
func limitsOf(out io.Writer, group string) error {
	for _, file := range limitFiles {
		text, err := os.ReadFile(filepath.Join(group, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			fmt.Fprintln(out, "limit", file, strings.TrimSpace(line))
		}
	}
	return nil
}
