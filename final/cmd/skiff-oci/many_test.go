package main_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
)

// Many containers, one after another and at the same time. What each of them forgets
// is too little to be seen after one; a machine runs thousands a day.

// An ordinary test run tries few. To try many,
//
//	go test -run=Many -containers=5000 -timeout=30m ./cmd/skiff-oci
var containers = flag.Int("containers", 100, "how many containers run one after another; a fifth as many, and at most 200, run at once")

// Time is compared by medians of a tenth. Something else that the machine does may slow
// a whole tenth down, and passes; what piles up does not.
func TestManyInARow(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"))
	next := 0
	run := func(count int) (took []time.Duration) {
		for range count {
			begin := time.Now()
			b.succeed("run", "--bundle", b.dir, fmt.Sprint("row-", next))
			took = append(took, time.Since(begin))
			next++
		}
		return took
	}
	run(5) // the first ones make what the machine keeps for those to come
	before := useNow(b)
	tenth := max(*containers/10, 10)
	first := median(run(tenth))
	run(max(*containers-2*tenth, 0))
	last := median(run(tenth))
	for tries := 0; last > first*3/2 && tries < 5; tries++ {
		last = min(last, median(run(tenth)))
	}
	t.Logf("%d containers in a row: %v each of the first tenth, %v of the last", next, first, last)
	if last > first*3/2 {
		t.Errorf("a container takes %v after %d others, and at first %v", last, next, first)
	}
	b.wantNothing()
	before.wantSame(b)
}

func TestManyAtOnce(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"))
	b.succeed("run", "--bundle", b.dir, "first")
	before := useNow(b)
	count := min(max(*containers/5, 1), 200)
	failed := make([]error, count)
	var group sync.WaitGroup
	begin := time.Now()
	for n := range count {
		group.Go(func() {
			cmd := exec.Command(b.command().Path, "--root", b.state, "run", "--bundle", b.dir, fmt.Sprint("once-", n))
			var said bytes.Buffer
			cmd.Stderr = &said
			if err := cmd.Run(); err != nil || said.Len() > 0 {
				failed[n] = fmt.Errorf("container %d: %w: %s", n, err, said.String())
			}
		})
	}
	group.Wait()
	t.Logf("%d containers at once took %v", count, time.Since(begin))
	if err := errors.Join(failed...); err != nil {
		t.Error(err)
	}
	b.wantNothing()
	before.wantSame(b)
}

// median is the one in the middle.
func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// A use is what the kernel has in use of what containers take, by name.
type use map[string]int

// slack is how much more there may be in the end than before: others use the machine
// as well, and the kernel frees later. It is less than one of each container.
func slack(name string) int {
	if strings.HasPrefix(name, "kilobytes") {
		return 64 << 10 // slabs are given back by and by
	}
	return 20
}

// useNow counts the groups of each cgroup hierarchy, with those of version 1 that have
// been removed and are still referred to (num_cgroups in /proc/cgroups, cgroups(7)), the
// dying ones of version 2 (cgroup.stat), and the memory that the kernel cannot take back.
func useNow(b *bundle) use {
	b.Helper()
	u := use{}
	for line := range strings.Lines(b.read("/proc/cgroups")) {
		if f := strings.Fields(line); len(f) == 4 && !strings.HasPrefix(line, "#") {
			u["groups of "+f[0]] = number(b, f[2])
		}
	}
	for line := range strings.Lines(b.read("/proc/meminfo")) {
		if f := strings.Fields(line); f[0] == "SUnreclaim:" || f[0] == "KernelStack:" || f[0] == "PageTables:" {
			u["kilobytes of "+strings.TrimSuffix(f[0], ":")] = number(b, f[1])
		}
	}
	for _, file := range []string{"/sys/fs/cgroup/cgroup.stat", "/sys/fs/cgroup/unified/cgroup.stat"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it is mounted at one of the two, or nowhere
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); f[0] == "nr_dying_descendants" {
				u["dying groups of version 2"] = number(b, f[1])
			}
		}
	}
	return u
}

func number(b *bundle, text string) int {
	b.Helper()
	n, err := strconv.Atoi(text)
	b.must(err)
	return n
}

// wantSame waits until no more is in use than before.
func (u use) wantSame(b *bundle) {
	b.Helper()
	var more []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		more = nil
		for name, now := range useNow(b) {
			if now > u[name]+slack(name) {
				more = append(more, fmt.Sprintf("%s: %d, and before %d", name, now, u[name]))
			}
		}
		if len(more) == 0 || time.Now().After(end) {
			break
		}
	}
	slices.Sort(more)
	for _, line := range more {
		b.Error(line)
	}
}
