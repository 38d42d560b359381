// Advice: what the kernel meant. A control file has one errno for an answer,
// and the same number means something else in each file: EBUSY is a limit below
// what is in use, or a group with processes that may have none, and ENOSPC has
// nothing to do with a disk. The text for each goes with the error as a hint.
// Sources: cgroups(7), cpuset(7), admin-guide/cgroup-v2, and for the numbers the
// functions of kernel/cgroup, mm/memcontrol.c, block and kernel/sched/core.c
// that stand behind the files.

package cgroup

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// writeError says what could not be written where, and the usual cause.
func writeError(dir, file, value string, err error) error {
	if err == nil {
		return nil
	}
	told := fmt.Errorf("cgroup: write %q to %q: %w", strings.TrimSuffix(value, nothing), dir+"/"+file, err)
	return hint.Add(told, advice(dir, file, err))
}

// advice returns the usual cause of an error on a control file, or "".
func advice(dir, file string, err error) string {
	errno, _ := err.(unix.Errno)
	for _, a := range causes {
		if matched, _ := path.Match(a.file, file); matched && a.errno == errno {
			return a.text
		}
	}
	switch errno {
	case unix.EBUSY:
		return belowUsage(dir, file)
	case unix.EROFS:
		return "the cgroup file system is mounted read-only here"
	case unix.EACCES, unix.EPERM:
		return whoMay(dir, file)
	case unix.ENOENT:
		return absentFile(dir, file)
	case unix.ENODEV:
		return "the group was removed meanwhile"
	case unix.EOPNOTSUPP:
		return "the kernel has that file switched off, or the group is threaded (" + dir + "/cgroup.type)"
	}
	return ""
}

// cause is the usual cause of one errno from one file; file is a pattern, and "" is
// a group to be made.
type cause struct {
	file  string
	errno unix.Errno
	text  string
}

// causes is searched from the top.
var causes = [...]cause{
	{"cgroup.procs", unix.ENOENT, "the group is gone"},
	{"cgroup.procs", unix.ESRCH, "the process has ended already"},
	{"cgroup.procs", unix.ENOSPC, "the group's cpuset.cpus or cpuset.mems is empty"},
	{
		"cgroup.procs", unix.EINVAL,
		"a real-time process needs a group with cpu.rt_runtime_us; a " +
			"thread of the kernel cannot be moved",
	},
	{
		"cgroup.procs", unix.EBUSY,
		"a v2 group that hands controllers to its children holds no processes " +
			"itself (cgroups(7), \"no internal processes\")",
	},
	{
		"cgroup.procs", unix.EOPNOTSUPP,
		"a group beside or above this one is threaded, and cgroup.type says \"domain invalid\": " +
			"it must be made threaded too (cgroups(7), \"thread mode\")",
	},
	{
		"cgroup.procs", unix.EACCES,
		"who moves a process must own cgroup.procs in the group that both places have " +
			"above them (cgroups(7), \"delegation containment\")",
	},
	{
		"cgroup.subtree_control", unix.EBUSY,
		"a v2 group with processes of its own cannot hand controllers to its " +
			"children (cgroups(7), \"no internal processes\")",
	},
	{"cgroup.subtree_control", unix.ENOENT, "the group above does not hand that controller down"},
	{
		"cgroup.subtree_control", unix.EOPNOTSUPP,
		"the group is threaded, and this controller only knows whole " +
			"processes (cgroups(7), \"thread mode\")",
	},
	{"memory.limit_in_bytes", unix.EINVAL, "memory alone cannot be allowed more than memory and swap together"},
	{"memory.memsw.limit_in_bytes", unix.EINVAL, "memory and swap together cannot be allowed less than memory alone"},
	{"memory.oom_control", unix.EINVAL, "the root group's OOM killer stays on"},
	{
		"cpu.cfs_quota_us", unix.EINVAL,
		"the quota is at least 1000 microseconds, not below the burst, and " +
			"quota/period at most that of the parent group",
	},
	{
		"cpu.cfs_period_us", unix.EINVAL,
		"the period is 1000 to 1000000 microseconds, and quota/period " +
			"at most that of the parent group",
	},
	{
		"cpu.max", unix.EINVAL,
		"the quota is at least 1000 microseconds and not below the burst; " +
			"the period is 1000 to 1000000 microseconds",
	},
	{"cpu.cfs_burst_us", unix.EINVAL, "the burst is at most the quota, and needs one"},
	{"cpu.max.burst", unix.EINVAL, "the burst is at most the quota, and needs one"},
	{"cpu.idle", unix.EINVAL, "0 is an ordinary group, 1 one that runs when no other does"},
	{"cpu.shares", unix.EINVAL, "a group with cpu.idle 1 has no shares"},
	{"cpu.weight", unix.EINVAL, "a group with cpu.idle 1 has no weight"},
	{"cpu.weight", unix.ERANGE, "a weight is 1 to 10000"},
	{
		"cpu.rt_*_us", unix.EINVAL,
		"the groups above, up to the root, must have that much real-time first, and it " +
			"is at most one period (scheduler/sched-rt-group)",
	},
	{"cpuset.*", unix.EACCES, "those are not in the parent group's cpuset.cpus and cpuset.mems"},
	{"cpuset.*", unix.ENOSPC, "processes are in the group: they would be left without a processor or memory node"},
	{"cpuset.*", unix.EBUSY, "a group below uses some of what would be taken away"},
	{"cpuset.*", unix.EINVAL, "a list is like \"0-3,7\", of what the machine has, and an exclusive set overlaps no other"},
	{"cpuset.*", unix.ERANGE, "the machine has no processor or memory node with so high a number"},
	{"*.weight*", unix.ERANGE, "io.weight is 1 to 10000, the others 1 to 1000"},
	{"*.weight*", unix.EINVAL, "io.weight is 1 to 10000, the others 1 to 1000"},
	{"blkio.*", unix.ENODEV, "there is no disk with that number (a partition does not count): lsblk"},
	{"io.*", unix.ENODEV, "there is no disk with that number (a partition does not count): lsblk"},
	{"rdma.max", unix.ENODEV, "there is no adapter with that name: ls /sys/class/infiniband"},
	{"rdma.max", unix.EINVAL, "a line is like \"mlx5_0 hca_handle=2 hca_object=max\""},
	{"misc.max", unix.EINVAL, "compare misc.capacity of the root group: the machine has none of it, or less"},
	{"net_prio.ifpriomap", unix.ENODEV, "there is no network interface with that name in this network namespace"},
	{"pids.max", unix.EINVAL, "at most 4194304 on any machine"},
	{"devices.allow", unix.EPERM, "a parent group does not allow that device"},
	{"", unix.EAGAIN, "a group above has a limit on groups below it: cgroup.max.descendants, cgroup.max.depth"},
	{"", unix.ENOSPC, "the memory controller can count for 65535 groups, and removed ones in use are among them"},
}

// belowUsage explains EBUSY from a limit: how much there is in use.
func belowUsage(dir, file string) string {
	usage := map[string]string{
		"memory.limit_in_bytes":          "memory.usage_in_bytes",
		"memory.memsw.limit_in_bytes":    "memory.memsw.usage_in_bytes",
		"memory.kmem.tcp.limit_in_bytes": "memory.kmem.tcp.usage_in_bytes",
		"memory.max":                     "memory.current",
	}[file]
	used, err := readNumber(dir, usage)
	if usage == "" || err != nil {
		return ""
	}
	if file == "memory.max" {
		return fmt.Sprintf("the group uses more memory than that, %d bytes; a lower limit would start the OOM killer", used)
	}
	return fmt.Sprintf("the group uses more memory than that, %d bytes, and the kernel could not free enough", used)
}

// absentFile explains why a control file is not there.
func absentFile(dir, file string) string {
	if rest, is := strings.CutPrefix(file, "hugetlb."); is {
		size, _, _ := strings.Cut(rest, ".")
		return "pages of size " + size + " are not among this machine's: " + strings.Join(pageSizes(dir), ", ")
	}
	return "the group is gone, or this kernel was built without that file"
}

// pageSizes are the sizes of huge pages that the controller of dir knows.
func pageSizes(dir string) []string {
	var sizes []string
	for _, suffix := range []string{".max", ".limit_in_bytes"} {
		// The pattern is ours; a dir with a "[" finds nothing, and that is all.
		names, _ := filepath.Glob(dir + "/hugetlb.*" + suffix)
		for _, name := range names {
			size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "hugetlb."), suffix)
			if !strings.Contains(size, ".") { // not hugetlb.2MB.rsvd.max
				sizes = append(sizes, size)
			}
		}
	}
	return sizes
}

// whoMay explains a refusal: whose file or folder it is.
func whoMay(dir, file string) string {
	var st unix.Stat_t
	if unix.Stat(path.Join(dir, file), &st) != nil {
		return ""
	}
	if uint32(os.Geteuid()) == st.Uid || os.Geteuid() == 0 {
		return "the kernel lets only a privileged process of the initial user namespace do this"
	}
	return fmt.Sprintf("it belongs to uid %d, and this is uid %d: ask for a group of your own "+
		"(systemd: Delegate=yes; or see Delegate) and name one below it", st.Uid, os.Geteuid())
}

// mkdirError says which group could not be made, and the usual cause.
func mkdirError(dir string, err error) error {
	return hint.Add(fmt.Errorf("cgroup: mkdir %q: %w", dir, err), advice(path.Dir(dir), "", err))
}
