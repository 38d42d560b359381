// The attacks that a group withstands: a fork bomb and a memory hog.

package cgroup_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// A loop that would start 200 processes gets no further than the limit.
func TestAForkBombStopsAtTheLimit(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "bomb")
	must(t, m.Set(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p[int64](20)}}))
	// dash gives up at the first fork that fails.
	bomb := start(t, m, `i=0; while [ $i -lt 200 ]; do sleep 60 >/dev/null 2>&1 & i=$((i+1)); done; echo all started`)
	if out := bomb.rest(); !strings.Contains(strings.ToLower(out), "fork") || strings.Contains(out, "all started") {
		t.Errorf("the bomb said %q", out)
	}
	if got := run(t, "grep max "+dir(m, "pids")+"/pids.events"); got == "max 0" {
		t.Error("the kernel refused no fork")
	}
	bomb.cmd.Wait() // its children are still there
	pids, err := m.Processes()
	must(t, err)
	stats, err := m.Stats()
	must(t, err)
	if len(pids) != 19 || stats.Pids.Current != 19 || stats.Pids.Max != 20 {
		t.Errorf("%d processes, statistics %+v, want 19 of 20", len(pids), *stats.Pids)
	}
	must(t, m.Delete())
	gone(t, m)
	for _, pid := range pids {
		if s := state(pid); s != "" && s != "Z" {
			t.Errorf("process %d still runs (%s)", pid, s)
		}
	}
	reap(t)
}

// 200 MB do not fit in 32 MB: the hog is killed, the shell beside it is not.
func TestAMemoryHogIsKilled(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "hog")
	must(t, m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](32 << 20), Swap: p[int64](32 << 20)}}))
	// The hog stands first in line, with what feeds it: where memory comes back
	// slowly, the kernel kills a second time.
	shell := start(t, m, `exec 2>/dev/null
		(echo 1000 >/proc/self/oom_score_adj; head -c 200000000 /dev/zero | tail -n 1) | wc -c; echo survived; read done`)
	if size := shell.line(); size != "0" {
		t.Errorf("%s bytes came through", size)
	}
	if said := shell.line(); said != "survived" {
		t.Errorf("the shell said %q", said)
	}
	stats, err := m.Stats()
	must(t, err)
	// A second process of the pipe may die before the first one's memory is back.
	if stats.Memory.OOMKill == 0 || stats.Memory.Max != 32<<20 || stats.Memory.Current == 0 || stats.Memory.Current > stats.Memory.Max {
		t.Errorf("statistics %+v, want a kill", *stats.Memory)
	}
	events := "memory.events"
	if _, v1 := m.Paths()["memory"]; v1 {
		events = "memory.oom_control"
	}
	if got := run(t, "grep '^oom_kill ' "+dir(m, "memory")+"/"+events); got != fmt.Sprintf("oom_kill %d", stats.Memory.OOMKill) {
		t.Errorf("the kernel counts %q, the statistics %d", got, stats.Memory.OOMKill)
	}
}

// A loop that could use a whole processor gets a tenth of it.
func TestAQuotaSlowsDown(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "quota")
	must(t, m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: p[int64](10000), Period: p[uint64](100000)}}))
	begin := time.Now()
	start(t, m, `while :; do :; done`)
	used := func() time.Duration {
		stats, err := m.Stats()
		must(t, err)
		return stats.CPU.Usage
	}
	eventually(t, "50 ms of processor time are used", func() bool { return used() > 50*time.Millisecond })
	if share := float64(used()) / float64(time.Since(begin)); share > 0.3 {
		t.Errorf("it used %.0f %% of a processor, want about 10 %%", 100*share)
	}
	if got := run(t, "grep nr_throttled "+dir(m, "cpu")+"/cpu.stat"); got == "nr_throttled 0" {
		t.Error("the kernel throttled nothing")
	}
}
