package launch

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
)

// What fork costs alone, from clone3(2) to the child's first step. It depends
// on the parent: its page tables are copied for the child, and freed again by
// the child's execve(2) or end. It does not depend on the plan, which the child
// finds in that copy: nothing is sent to it, however many steps there are.

// forked is how long a fork took until clone3(2) returned, and until the
// child's loop began.
type forked struct{ parent, child time.Duration }

// forkOnce clones a child that runs program, and waits for its end.
func forkOnce(t testing.TB, program *machine.Program) forked {
	t.Helper()
	args := argsFor(Options{})
	begin := monotonic(t)
	pid, pidfd, errno := machine.Clone(args, program, failedStatus)
	end := monotonic(t)
	if errno != 0 {
		t.Fatal(errno)
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(pidfd); err != nil {
		t.Fatal(err)
	}
	return forked{parent: end - begin, child: time.Duration(program.Page.Born) - begin}
}

// monotonic is the clock that the child's loop reads.
func monotonic(t testing.TB) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

// harmless is a program of n steps, the last of which ends it.
func harmless(t testing.TB, n int) *machine.Program {
	t.Helper()
	p := &plan.Plan{}
	for range n - 1 {
		p.Add(plan.Umask(0o22))
	}
	p.Add(plan.Exit(0))
	program, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	memory, err := mapPage(n, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	program.Page = machine.MapPage(memory, n)
	program.Page.Timed = 1 // only then the loop notes when it began
	return program
}

// medianFork is the median of both times.
func medianFork(forks []forked) forked {
	of := func(which func(forked) time.Duration) time.Duration {
		var all []time.Duration
		for _, f := range forks {
			all = append(all, which(f))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return forked{
		parent: of(func(f forked) time.Duration { return f.parent }),
		child:  of(func(f forked) time.Duration { return f.child }),
	}
}

// BenchmarkFork measures fork with plans of more and more steps, and with
// more and more memory in the parent:
//
//	clone-µs  until clone3(2) has returned
//	born-µs   until the child's first step
func BenchmarkFork(b *testing.B) {
	for _, steps := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("steps=%d", steps), func(b *testing.B) { benchmarkFork(b, steps) })
	}
	for _, megabytes := range []int{4, 16, 64} {
		heap := make([]byte, megabytes<<20)
		for i := 0; i < len(heap); i += unix.Getpagesize() {
			heap[i] = 1 // a page that was never written to has no page to copy
		}
		b.Run(fmt.Sprintf("heap=%dMB", megabytes), func(b *testing.B) { benchmarkFork(b, 1) })
		runtime.KeepAlive(heap)
	}
}

func benchmarkFork(b *testing.B, steps int) {
	program := harmless(b, steps)
	debug.FreeOSMemory() // what others have used
	var all []forked
	for b.Loop() {
		all = append(all, forkOnce(b, program))
	}
	m := medianFork(all)
	b.ReportMetric(0, "ns/op") // the steps and the wait included: not meant here
	b.ReportMetric(float64(m.parent)/float64(time.Microsecond), "clone-µs")
	b.ReportMetric(float64(m.child)/float64(time.Microsecond), "born-µs")
}

// The bound is wide, for machines that do other things as well. A step takes
// at least 0.1 µs to be sent, by whatever way, and a fork some 100 µs: sending
// 10,000 of them would double the time many times over.
func TestForkTimeDoesNotGrowWithTheSteps(t *testing.T) {
	const few, many, rounds = 1, 10_000, 100
	programs := []*machine.Program{harmless(t, few), harmless(t, many)}
	debug.FreeOSMemory()
	var forks [2][]forked
	for range rounds {
		for i, program := range programs { // in turn: what disturbs, disturbs both
			forks[i] = append(forks[i], forkOnce(t, program))
		}
	}
	short, long := medianFork(forks[0]), medianFork(forks[1])
	t.Logf("%d step: %v; %d steps: %v", few, short, many, long)
	if long.parent > 3*short.parent || long.child > 3*short.child {
		t.Errorf("fork with %d step takes %v, with %d steps %v", few, short, many, long)
	}
}

// The text of forked is for people.
func (f forked) String() string {
	return fmt.Sprintf("%v in the parent, %v until the child's first step", f.parent, f.child)
}
