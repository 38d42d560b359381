// Statistics, against the kernel's own files and against what a program did.

package cgroup_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// Every number, as a machine of each kind would say it.
func TestStatisticsOfEachVersion(t *testing.T) {
	for kind, files := range map[string]map[string]string{
		"legacy": {
			"cpuacct/web/cpuacct.usage": "5000000\n", "cpuacct/web/cpuacct.usage_user": "3000000\n", "cpuacct/web/cpuacct.usage_sys": "2000000\n",
			"cpuacct/web/cpuacct.usage_percpu": "1000000 4000000 \n",
			"cpu/web/cpu.stat":                 "nr_periods 10\nnr_throttled 4\nthrottled_time 7000\nnr_bursts 2\nburst_time 9000\n",
			"memory/web/memory.usage_in_bytes": "4096000\n", "memory/web/memory.max_usage_in_bytes": "8192000\n",
			"memory/web/memory.limit_in_bytes": "33554432\n", "memory/web/memory.memsw.limit_in_bytes": "67108864\n",
			"memory/web/memory.failcnt": "12\n", "memory/web/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
			"memory/web/memory.kmem.usage_in_bytes": "40960\n",
			"memory/web/memory.stat": "cache 1\nrss 1\ntotal_cache 1000\ntotal_rss 2000\ntotal_shmem 300\ntotal_swap 40\n" +
				"total_inactive_file 500\ntotal_pgfault 66\ntotal_pgmajfault 7\n",
			"pids/web/pids.current": "5\n", "pids/web/pids.max": "20\n", "pids/web/pids.peak": "9\n", "pids/web/pids.events": "max 8\n",
			"blkio/web/blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\n8:0 Discard 0\n8:0 Total 12288\nTotal 12288\n",
			"blkio/web/blkio.throttle.io_serviced_recursive":      "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
			"hugetlb/web/hugetlb.2MB.usage_in_bytes":              "2097152\n", "hugetlb/web/hugetlb.2MB.failcnt": "1\n",
			"rdma/web/rdma.current": "mlx5_0 hca_handle=2 hca_object=20\n",
		},
		"unified": {
			"web/cpu.stat": "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n" +
				"nr_bursts 2\nburst_usec 9\n",
			"web/memory.current": "4096000\n", "web/memory.peak": "8192000\n", "web/memory.max": "33554432\n", "web/memory.high": "30000000\n",
			"web/memory.low": "1000000\n", "web/memory.swap.current": "40\n", "web/memory.swap.max": "33554432\n",
			"web/memory.events":        "low 1\nhigh 2\nmax 12\noom 4\noom_kill 3\noom_group_kill 1\n",
			"web/memory.stat":          "anon 2000\nfile 1000\nkernel 40960\nsock 4\nshmem 300\ninactive_file 500\npgfault 66\npgmajfault 7\n",
			"web/pids.current":         "5\n",
			"web/pids.max":             "max\n",
			"web/pids.peak":            "9\n",
			"web/pids.events":          "max 8\n",
			"web/io.stat":              "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n",
			"web/hugetlb.2MB.current":  "2097152\n",
			"web/hugetlb.2MB.events":   "max 1\n",
			"web/hugetlb.2MB.max":      "9223372036854771712\n", // as newer kernels say "no limit"
			"web/rdma.current":         "mlx5_0 hca_handle=2 hca_object=20\n",
			"web/misc.current":         "sev 3\n",
			"web/cpu.pressure":         "some avg10=12.50 avg60=1.25 avg300=0.50 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
			"web/memory.pressure":      "some avg10=0.00 avg60=0.00 avg300=0.00 total=8\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
			"web/io.pressure":          "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
			"web/hugetlb.1GB.rsvd.max": "1073741824\n",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			m := record(t, kind)
			for file, content := range files {
				m.put(file, content)
			}
			stats, err := m.Stats()
			must(t, err)
			text, err := json.MarshalIndent(stats, "", "  ")
			must(t, err)
			golden(t, string(text)+"\n", "stats-"+kind+".golden")
		})
	}
}

// What a kernel does not say in the way that we know is an error, not a zero.
func TestStatisticsThatAreNoNumbers(t *testing.T) {
	for file, content := range map[string]string{
		"web/memory.current": "lots\n", "web/memory.max": "-1\n", "web/memory.events": "oom 1\n",
		"web/cpu.pressure": "some avg10=x\n", "web/pids.max": "\n", "web/memory.stat": "",
	} {
		m := record(t, "unified")
		m.put(file, content)
		if _, err := m.Stats(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s says %q: error %v", file, content, err)
		}
	}
}

func TestStatisticsOfAGroupThatIsGone(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		if _, err := manager(t, h, "/skiff-test-nobody").Stats(); !errors.Is(err, unix.ENOENT) {
			t.Errorf("error %v", err)
		}
	})
}

// A program that burns time, waits at its quota, and holds memory.
func TestStatisticsSayWhatAProgramDid(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	m := create(t, detect(t), "stats")
	must(t, m.Set(resources(t, `{"memory": {"limit": 67108864}, "pids": {"limit": 30}}`)))
	shell := start(t, m, `x=$(head -c 8000000 /dev/zero | tr '\0' x); echo full; while :; do :; done`)
	shell.line()
	must(t, m.Set(resources(t, `{"cpu": {"quota": 20000, "period": 100000}}`))) // while it runs
	eventually(t, "it was throttled three times", func() bool {
		s, err := m.Stats()
		must(t, err)
		return s.CPU.ThrottledPeriods >= 3
	})
	s, err := m.Stats()
	must(t, err)
	const MB = 1_000_000
	switch {
	case s.CPU.Usage < 20*time.Millisecond, s.CPU.User+s.CPU.System == 0, s.CPU.Throttled == 0, s.CPU.Periods < s.CPU.ThrottledPeriods:
		t.Errorf("cpu: %+v", *s.CPU)
	case s.Memory.Current < 8*MB, s.Memory.Anon < 8*MB, s.Memory.Anon > 64*MB, s.Memory.Max != 64<<20, s.Memory.OOMKill != 0:
		t.Errorf("memory: %+v", *s.Memory)
	case s.Pids.Current != 1, s.Pids.Max != 30, s.Pids.Peak == 1: // head and tr were there
		t.Errorf("pids: %+v", *s.Pids)
	case s.Pressure != nil && s.Pressure.CPU.Some.Total == 0: // it wanted to run and could not
		t.Errorf("pressure: %+v", *s.Pressure.CPU)
	}
}
