// Putting back. An update of several limits is several writes, and the kernel
// can refuse the last of them. Whoever asked is told that it failed, so nothing
// of it should stay: what the files said before is remembered, and written again.

package cgroup

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// former is what one file said before an update.
type former struct{ dir, file, text string }

// update is what is to be written, and what the files said before, a list for
// each controller.
type update struct {
	writes []func() error
	before [][]former
}

func (u *update) add(write func() error, before []former) {
	u.writes, u.before = append(u.writes, write), append(u.before, before)
}

// run writes all, or as good as nothing.
func (u *update) run() error {
	for _, write := range u.writes {
		if err := write(); err != nil {
			return errors.Join(err, putBack(u.before))
		}
	}
	return nil
}

// saidBy reads files. One that is not there, or cannot be read, is left out.
func saidBy(dir string, files ...string) (all []former) {
	for _, file := range files {
		if text, err := setTo(dir, file); err == nil {
			all = append(all, former{dir, file, text})
		}
	}
	return all
}

// unifiedFiles reads the files that are to be written by their names.
func (m *Manager) unifiedFiles(files map[string]string) []former {
	if m.v2 == nil {
		return nil
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool { return strings.Contains(name, "/") })
	return saidBy(m.v2.dir, names...)
}

// filesOf names the files of a controller that Set writes, in either version.
func filesOf(controller string, r *specs.LinuxResources) []string {
	switch controller {
	case "memory":
		return []string{
			"memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes",
			"memory.kmem.tcp.limit_in_bytes", "memory.swappiness", "memory.oom_control",
			"memory.max", "memory.swap.max", "memory.low",
		}
	case "cpu":
		return []string{
			"cpu.idle", "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us",
			"cpu.rt_period_us", "cpu.rt_runtime_us", "cpu.weight", "cpu.max", "cpu.max.burst",
		}
	case "cpuset":
		return []string{"cpuset.cpus", "cpuset.mems"}
	case "blkio":
		files := []string{"blkio.weight", "blkio.weight_device", "blkio.bfq.weight", "blkio.bfq.weight_device", "io.weight", "io.bfq.weight", "io.max"}
		for _, c := range ceilings(r.BlockIO) {
			files = append(files, "blkio.throttle."+c.v1)
		}
		return files
	case "hugetlb":
		var files []string
		for _, l := range r.HugepageLimits {
			for _, end := range []string{".rsvd.limit_in_bytes", ".limit_in_bytes", ".rsvd.max", ".max"} {
				files = append(files, "hugetlb."+l.Pagesize+end)
			}
		}
		return files
	case "net_cls":
		return []string{"net_cls.classid"}
	case "net_prio":
		return []string{"net_prio.ifpriomap"}
	}
	return []string{controller + ".max"} // pids, rdma
}

// setTo reads what a file was set to. That of the OOM killer also says how it is.
func setTo(dir, file string) (string, error) {
	text, err := read(dir, file)
	if file == "memory.oom_control" {
		off, _ := key(text, "oom_kill_disable")
		text = strconv.FormatUint(off, 10)
	}
	return text, err
}

// putBack writes what the files said; those of a controller may bound each other.
func putBack(before [][]former) error {
	var failed []error
	for _, some := range before {
		var settings []setting
		for _, f := range some {
			if now, err := setTo(f.dir, f.file); err == nil && now != f.text {
				settings = append(settings, f.settings(now)...)
			}
		}
		if len(settings) > 0 {
			failed = append(failed, writeEither(some[0].dir, settings...))
		}
	}
	return errors.Join(failed...)
}

// settings are what brings a file that says now back to what it said: itself, or
// where it has a line for each device, the lines that are different.
func (f former) settings(now string) []setting {
	none, byDevice := withoutLimit(f.file)
	if !byDevice {
		return []setting{{f.file, cmp.Or(f.text, "\n")}} // that it had none is a value as well
	}
	old, lines := strings.Split(f.text, "\n"), strings.Split(now, "\n")
	var settings []setting
	for _, line := range old {
		if line != "" && !slices.Contains(lines, line) {
			settings = append(settings, setting{f.file, strings.TrimPrefix(line, "default ")})
		}
	}
	for _, line := range lines {
		device, _, _ := strings.Cut(line, " ")
		had := func(line string) bool { return strings.HasPrefix(line, device+" ") }
		if none != "" && device != "" && !slices.ContainsFunc(old, had) {
			settings = append(settings, setting{f.file, device + " " + none})
		}
	}
	return settings
}

// withoutLimit tells whether a file has a line for each device, and how it is
// told that one has no limit any more; "" if all devices always have a line.
func withoutLimit(file string) (words string, byDevice bool) {
	switch {
	case file == "io.max":
		return "rbps=max wbps=max riops=max wiops=max", true
	case file == "io.latency":
		return "target=0", true
	case file == "io.weight", file == "io.bfq.weight":
		return "default", true
	case strings.HasPrefix(file, "blkio.") && strings.HasSuffix(file, "_device"):
		return "0", true
	}
	return "", slices.Contains([]string{"rdma.max", "misc.max", "net_prio.ifpriomap"}, file)
}
