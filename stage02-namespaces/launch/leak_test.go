package launch_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// held is what this process has that a launch could leave behind.
type held struct {
	descriptors int
	pages       int // memory that was shared with a child: mmap(2) shows it as /dev/zero
	mappings    int
	goroutines  int
}

func holds(t *testing.T) held {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return held{
		descriptors: openDescriptors(t),
		pages:       strings.Count(string(maps), "/dev/zero"),
		mappings:    strings.Count(string(maps), "\n"),
		goroutines:  runtime.NumGoroutine(),
	}
}

func TestTenThousandLaunchesLeaveNothing(t *testing.T) {
	p := exits(3, plan.Umask(0o22))
	launchOnce := func() {
		process, err := launch.Start(p, launch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Started(); err != nil {
			t.Fatal(err)
		}
		if status, err := process.Wait(); err != nil || status.ExitStatus() != 3 {
			t.Fatalf("status %v, error %v", status, err)
		}
		if err := process.Close(); err != nil {
			t.Fatal(err)
		}
	}
	launchOnce() // from now on the runtime has its poller
	before := holds(t)
	for range 10_000 {
		launchOnce()
	}
	noChildren(t)
	after := holds(t)
	const heap = 20 // mappings that the Go heap may add meanwhile
	if after.mappings > before.mappings+heap {
		t.Errorf("%d memory mappings, before %d", after.mappings, before.mappings)
	}
	after.mappings = before.mappings
	if after != before {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}
