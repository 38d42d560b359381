// One table of limits, for both versions: set, read back with cat, and set
// again to something else while the group lives.

package cgroup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// applied are rows of: what is asked for, by which controller of v1 and of v2
// it is kept, and what the files then say, "file: content".
var applied = []struct{ resources, v1, v1Says, v2, v2Says string }{
	{
		`{"memory": {"limit": 67108864, "reservation": 33554432}}`,
		"memory", "memory.limit_in_bytes: 67108864; memory.soft_limit_in_bytes: 33554432",
		"memory", "memory.max: 67108864; memory.low: 33554432",
	},
	{
		`{"memory": {"limit": 134217728, "swap": 134217728}}`,
		"memory", "memory.limit_in_bytes: 134217728; memory.memsw.limit_in_bytes: 134217728",
		"memory", "memory.max: 134217728; memory.swap.max: 0",
	},
	{
		`{"memory": {"limit": 16777216, "swap": 33554432}}`,
		"memory", "memory.limit_in_bytes: 16777216; memory.memsw.limit_in_bytes: 33554432",
		"memory", "memory.max: 16777216; memory.swap.max: 16777216",
	},
	{
		`{"memory": {"limit": -1}}`,
		"memory", "memory.limit_in_bytes: 9223372036854771712; memory.memsw.limit_in_bytes: 9223372036854771712",
		"memory", "memory.max: max; memory.swap.max: max",
	},
	{`{"memory": {"swappiness": 0}}`, "memory", "memory.swappiness: 0", "", ""},
	{`{"memory": {"disableOOMKiller": true}}`, "memory", "memory.oom_control: oom_kill_disable 1", "", ""},
	{`{"memory": {"kernelTCP": 1048576}}`, "memory", "memory.kmem.tcp.limit_in_bytes: 1048576", "", ""},
	{
		`{"cpu": {"shares": 2048, "quota": 50000, "period": 200000, "burst": 10000}}`,
		"cpu", "cpu.shares: 2048; cpu.cfs_quota_us: 50000; cpu.cfs_period_us: 200000; cpu.cfs_burst_us: 10000",
		"cpu", "cpu.weight: 174; cpu.max: 50000 200000; cpu.max.burst: 10000",
	},
	{ // all smaller: the old burst is above the new quota
		`{"cpu": {"quota": 5000, "period": 100000, "burst": 1000}}`,
		"cpu", "cpu.shares: 2048; cpu.cfs_quota_us: 5000; cpu.cfs_period_us: 100000; cpu.cfs_burst_us: 1000",
		"cpu", "cpu.weight: 174; cpu.max: 5000 100000; cpu.max.burst: 1000",
	},
	{ // all greater: the new burst is above the old quota
		`{"cpu": {"quota": 150000, "burst": 100000}}`,
		"cpu", "cpu.cfs_quota_us: 150000; cpu.cfs_period_us: 100000; cpu.cfs_burst_us: 100000",
		"cpu", "cpu.max: 150000 100000; cpu.max.burst: 100000",
	},
	{
		`{"cpu": {"period": 50000}}`,
		"cpu", "cpu.cfs_quota_us: 150000; cpu.cfs_period_us: 50000",
		"cpu", "cpu.max: 150000 50000",
	},
	{
		`{"cpu": {"quota": -1, "burst": 0}}`,
		"cpu", "cpu.cfs_quota_us: -1; cpu.cfs_burst_us: 0",
		"cpu", "cpu.max: max 50000; cpu.max.burst: 0",
	},
	{`{"cpu": {"idle": 1, "shares": 512}}`, "cpu", "cpu.idle: 1", "cpu", "cpu.idle: 1"},
	{
		`{"cpu": {"idle": 0, "shares": 512}}`,
		"cpu", "cpu.idle: 0; cpu.shares: 512",
		"cpu", "cpu.idle: 0; cpu.weight: 59",
	},
	{
		`{"cpu": {"cpus": "0", "mems": "0"}}`,
		"cpuset", "cpuset.cpus: 0; cpuset.mems: 0",
		"cpuset", "cpuset.cpus: 0; cpuset.mems: 0",
	},
	{`{"pids": {"limit": 20}}`, "pids", "pids.max: 20", "pids", "pids.max: 20"},
	{`{"pids": {"limit": 0}}`, "pids", "pids.max: 0", "pids", "pids.max: 0"},
	{`{"pids": {"limit": -1}}`, "pids", "pids.max: max", "pids", "pids.max: max"},
	{
		`{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}`,
		"hugetlb", "hugetlb.2MB.limit_in_bytes: 4194304; hugetlb.2MB.rsvd.limit_in_bytes: 4194304",
		"hugetlb", "hugetlb.2MB.max: 4194304; hugetlb.2MB.rsvd.max: 4194304",
	},
	{
		`{"blockIO": {"throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 1048576}]}}`,
		"blkio", "blkio.throttle.read_bps_device: MAJOR:MINOR 1048576",
		"io", "io.max: MAJOR:MINOR rbps=1048576 wbps=max riops=max wiops=max",
	},
	{
		`{"blockIO": {"throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 0}], "throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 120}]}}`,
		"blkio", "blkio.throttle.read_bps_device: ; blkio.throttle.write_iops_device: MAJOR:MINOR 120",
		"io", "io.max: MAJOR:MINOR rbps=max wbps=max riops=max wiops=120",
	},
	{`{"unified": {"memory.high": "8388608"}}`, "", "", "memory", "memory.high: 8388608"},
}

// disk is the number of a block device of this machine, "" if it has none.
func disk(t testing.TB) (major, minor string) {
	t.Helper()
	disks, err := filepath.Glob("/sys/block/*/dev")
	must(t, err)
	if len(disks) == 0 {
		return "", ""
	}
	number, err := os.ReadFile(disks[0])
	must(t, err)
	major, minor, _ = strings.Cut(strings.TrimSpace(string(number)), ":")
	return major, minor
}

func TestLimitsStandInTheKernelsFiles(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	h := detect(t)
	m := create(t, h, "applied")
	major, minor := disk(t)
	numbers := strings.NewReplacer("MAJOR", major, "MINOR", minor)
	v2Has := " " + run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers") + " "
	set := 0
	for _, row := range applied {
		says := row.v2Says
		switch _, v1 := m.Paths()[row.v1]; {
		case major == "" && strings.Contains(row.resources, "MAJOR"):
			continue
		case row.v1 != "" && v1:
			says = row.v1Says
		case row.v2 == "", !strings.Contains(v2Has, " "+row.v2+" "):
			continue // not on this machine
		}
		set++
		row.resources = numbers.Replace(row.resources)
		if err := m.Set(resources(t, row.resources)); err != nil {
			t.Errorf("%s: %v", row.resources, err)
			continue
		}
		for _, says := range strings.Split(numbers.Replace(says), "; ") {
			file, value, _ := strings.Cut(says, ": ")
			controller, _, _ := strings.Cut(file, ".")
			if got := run(t, fmt.Sprintf("head -n1 %s/%s", dir(m, controller), file)); got != value {
				t.Errorf("%s: %s says %q, want %q", row.resources, file, got, value)
			}
		}
	}
	if set < 10 {
		t.Errorf("only %d rows could be tried", set)
	}
}
