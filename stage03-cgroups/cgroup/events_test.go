// Hearing of a kill when it happens, and of the end of a group.

package cgroup_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// watch starts a watch. What it tells comes out of events, and what it returns
// out of ended.
func watch(t *testing.T, ctx context.Context, m *cgroup.Manager) (events <-chan cgroup.MemoryEvents, ended <-chan error) {
	t.Helper()
	told, end := make(chan cgroup.MemoryEvents, 1000), make(chan error, 1)
	go func() { end <- m.WatchMemory(ctx, func(e cgroup.MemoryEvents) { told <- e }) }()
	return told, end
}

// receive waits for at most five seconds.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(5 * time.Second):
		t.Fatal("nothing came within five seconds")
		panic("unreachable")
	}
}

// descriptors is how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(open)
}

func TestAKillIsHeardOf(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	m := create(t, detect(t), "events")
	must(t, m.Set(resources(t, `{"memory": {"limit": 16777216, "swap": 16777216}}`)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, ended := watch(t, ctx, m)
	if first := receive(t, events); first != (cgroup.MemoryEvents{}) {
		t.Errorf("a new group's events: %+v", first)
	}
	// Two hogs, one after the other: the second is heard of as well.
	for kills := uint64(1); kills <= 2; kills++ {
		hog := start(t, m, `head -c 100000000 /dev/zero | tail -n 1`)
		hog.rest()
		hog.cmd.Wait()
		reap(t) // should the shell have been killed as well
		e := receive(t, events)
		for e.OOMKill < kills {
			e = receive(t, events)
		}
		_, v1 := m.Paths()["memory"] // v1 of newer kernels does not count how often memory and swap met theirs
		if e.OOM == 0 || e.AtMax == 0 && !v1 {
			t.Errorf("events: %+v", e)
		}
		stats, err := m.Stats()
		must(t, err)
		if stats.Memory.OOMKill < kills {
			t.Errorf("statistics %+v, heard of %+v", stats.Memory.MemoryEvents, e)
		}
	}
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestAWatchEndsWithItsGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	unified(t) // for its clean-up
	m := create(t, detect(t), "watched")
	must(t, m.Set(resources(t, `{"memory": {"limit": 16777216}}`)))
	before := descriptors(t)
	events, ended := watch(t, t.Context(), m)
	receive(t, events)
	must(t, m.Delete())
	if err := receive(t, ended); err != nil {
		t.Errorf("the watch ended with %v", err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, before the watch %d", after, before)
	}
}

func TestAWatchThatCannotBegin(t *testing.T) {
	testkit.HostUnchanged(t)
	h := detect(t)
	without := &cgroup.Hierarchies{V2: h.V2}
	if h.Mode() == cgroup.Unified {
		without = &cgroup.Hierarchies{}
	}
	m := create(t, without, "unwatched")
	err := m.WatchMemory(t.Context(), func(cgroup.MemoryEvents) {})
	if !errors.Is(err, cgroup.ErrNoController) {
		t.Errorf("without a memory controller: %v", err)
	}
	if h.Mode() == cgroup.Unified {
		return
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := create(t, h, "late").WatchMemory(ended, func(cgroup.MemoryEvents) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
