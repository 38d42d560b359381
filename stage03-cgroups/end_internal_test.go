package main

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// Whoever comes to life in the group, or is frozen in it, while the container ends
// is killed as well, until it is over.
func TestTheEndGoesOnUntilItIsOver(t *testing.T) {
	testkit.HostUnchanged(t)
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	group, err := hierarchies.New("/skiff-stage03.test-end")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := group.Delete(); err != nil {
			t.Error(err)
		}
	})
	if err := group.Create(nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := killAtTheEnd(ctx, group)
	cancel()
	for range 3 {
		late := exec.Command("sleep", "60")
		if err := late.Start(); err != nil {
			t.Fatal(err)
		}
		if err := group.Add(late.Process.Pid); err != nil && !errors.Is(err, unix.ESRCH) { // killed half-way
			t.Error(err)
		}
		patience := time.AfterFunc(10*time.Second, func() { t.Error("it lives"); late.Process.Kill() })
		if err := late.Wait(); err == nil {
			t.Error("it ended by itself")
		}
		patience.Stop()
	}
	if err := over(); err != nil {
		t.Error(err)
	}
}

// What is said of an end: no more than the counters know.
func TestTheVerdict(t *testing.T) {
	const kill, segv = unix.WaitStatus(unix.SIGKILL), unix.WaitStatus(unix.SIGSEGV)
	oom := func(kills, peak uint64) *cgroup.Stats {
		s := &cgroup.Stats{Memory: &cgroup.MemoryStats{Max: 16 << 20}, Pids: &cgroup.PidsStats{Peak: peak, Max: 10}}
		s.Memory.OOMKill = kills
		return s
	}
	refused := oom(2, 10)
	refused.Pids.Refused = 11
	for _, c := range []struct {
		status unix.WaitStatus
		stats  *cgroup.Stats
		want   string
	}{
		{0, &cgroup.Stats{}, ""},
		{0, oom(0, 5), ""},
		{kill, oom(1, 1), `"sh" ran out of memory, and the kernel killed it`},
		{kill, oom(1, 2), `"sh" was ended by SIGKILL; the kernel has killed 1 process of the container for lack of memory`},
		{kill, oom(1, 0), `"sh" was ended by SIGKILL; the kernel has killed 1 process of the container for lack of memory`}, // a kernel without pids.peak
		{segv, oom(1, 2), `"sh" was ended by SIGSEGV; the kernel has killed 1 process of the container for lack of memory`},
		{segv, &cgroup.Stats{}, `"sh" was ended by SIGSEGV`},
		{0, refused, "the kernel has killed 2 processes of the container for lack of memory; the kernel has refused the container 11 forks"},
	} {
		said := ""
		if err := verdict("sh", c.status, c.stats); err != nil {
			said = err.Error()
		}
		if said != c.want {
			t.Errorf("status %#x: said %q, want %q", c.status, said, c.want)
		}
	}
}
