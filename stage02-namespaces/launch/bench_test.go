package launch_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// How fast a process is launched, beside the same calls made by static C
// (testdata/container.c; that they are the same is a test, bench_same_test.go).
// Two small processes do it in turn, a few rounds each, so that whatever else
// the machine does meets both alike. What is compared are medians:
//
//	skiff-µs, C-µs          by the clock, a round; skiff/C is their ratio
//	skiff-cpu-µs, C-cpu-µs  user and system time of parent and child, a round;
//	                        cpu-skiff/C is their ratio
//
// The clock includes what the kernel waits for, other processors above all
// (RCU), and that varies most.
//
// A round of skiff is Compile, the page, the pipe, clone3(2), the plan, the
// wait, and giving all of it back. A round of C is the gate, clone3(2), the
// calls, the wait: it needs no more, and whatever skiff does beyond that
// counts against skiff. Most of it is fork's work: a Go process has more
// memory to copy than one in C, see BenchmarkFork.

// turn is how many rounds one of the two has before it is the other's turn.
const turn = 10

// reach is the most that a full container shall take, in times of C.
const reach = 1.5

// namespaceKinds are the eight, in the order in which the benchmark adds them.
var namespaceKinds = []struct {
	name string
	flag uintptr
}{
	{"uts", unix.CLONE_NEWUTS},
	{"ipc", unix.CLONE_NEWIPC},
	{"mnt", unix.CLONE_NEWNS},
	{"pid", unix.CLONE_NEWPID},
	{"net", unix.CLONE_NEWNET},
	{"cgroup", unix.CLONE_NEWCGROUP},
	{"time", unix.CLONE_NEWTIME},
	{"user", unix.CLONE_NEWUSER},
}

// BenchmarkNamespaces measures a child that only exits, in 0 to 8 new
// namespaces.
func BenchmarkNamespaces(b *testing.B) {
	testkit.Root(b)
	measure := func(name string, flags uintptr) {
		b.Run(name, func(b *testing.B) { newPair(b, flags, "", "").compare(b) })
	}
	measure("0", 0)
	var flags uintptr
	for i, kind := range namespaceKinds {
		flags |= kind.flag
		if kind.flag == unix.CLONE_NEWTIME && !cloneMakesTime() {
			b.Log("clone3 makes time namespaces since Linux 6.3; without that, here it ends with 6")
			return
		}
		measure(fmt.Sprintf("%d+%s", i+1, kind.name), flags)
	}
}

// cloneMakesTime tells whether clone3(2) takes CLONE_NEWTIME. It always can be
// given to unshare(2), but that is another call.
func cloneMakesTime() bool {
	process, err := launch.Start(exits(0), launch.Options{Namespaces: unix.CLONE_NEWTIME})
	if err != nil {
		return false
	}
	_, err = process.Wait()
	return errors.Join(err, process.Close()) == nil
}

// BenchmarkContainer measures a whole container: the full plan, and a program
// that ends at once.
func BenchmarkContainer(b *testing.B) {
	testkit.Root(b)
	ratio, verdict := newPair(b, fullNamespaces, rootOfTrue(b), rootOfTrue(b)).compare(b), "ok"
	if ratio > reach {
		verdict = "not ok"
	}
	b.Logf("%s: a full container takes %.2f × C by the clock; the reach is at most %.1f", verdict, ratio, reach)
	if ratio > reach {
		b.Fail()
	}
}

// Both do one turn in each test run, so that the benchmarks are never found
// broken; and they leave nothing on the host.
func TestSkiffIsComparedWithC(t *testing.T) {
	if what := os.Getenv(beSkiff); what != "" {
		doTurns(t, what)
		return
	}
	testkit.HostUnchanged(t)
	for _, p := range []pair{
		newPair(t, fullNamespaces, "", ""),
		newPair(t, fullNamespaces, rootOfTrue(t), rootOfTrue(t)),
	} {
		for _, c := range p {
			if took := c.turn(t); len(took.wall) != turn || slices.Min(took.wall) <= 0 || took.cpu <= 0 {
				t.Errorf("%v took %v", c.cmd, took)
			}
		}
	}
}

// A pair is skiff and C, in this order.
type pair [2]*contender

func newPair(t testing.TB, namespaces uintptr, rootOfSkiff, rootOfC string) pair {
	t.Helper()
	return pair{
		startContender(t, containerBySkiff(namespaces, rootOfSkiff)),
		startContender(t, containerInC(t, turn, namespaces, rootOfC)),
	}
}

// compare measures both in turn, reports, and returns the ratio by the clock.
func (p pair) compare(b *testing.B) float64 {
	for _, c := range p {
		c.turn(b) // caches are warm from here on
	}
	var wall, cpu [2][]time.Duration
	for b.Loop() {
		for i, c := range p {
			t := c.turn(b)
			wall[i], cpu[i] = append(wall[i], t.wall...), append(cpu[i], t.cpu/turn)
		}
	}
	b.ReportMetric(0, "ns/op") // of a turn of both: says nothing
	report(b, "cpu-", cpu)
	return report(b, "", wall)
}

func report(b *testing.B, kind string, samples [2][]time.Duration) float64 {
	skiff, c := median(samples[0]), median(samples[1])
	b.ReportMetric(microseconds(skiff), "skiff-"+kind+"µs")
	b.ReportMetric(microseconds(c), "C-"+kind+"µs")
	ratio := float64(skiff) / float64(c)
	b.ReportMetric(ratio, kind+"skiff/C")
	return ratio
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median(of []time.Duration) time.Duration { return slices.Sorted(slices.Values(of))[len(of)/2] }
