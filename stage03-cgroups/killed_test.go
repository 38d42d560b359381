package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// kill -9 at every moment of a run, and a thousand groups.

// changes are the system calls by which a run changes the host.
var changes = []string{"mkdirat", "write", "unlinkat", "flock", "clone3"}

// strace kills the process, or another one of the run, when it makes such a call
// for the n-th time: before the call is carried out. So each point between two of
// them is met. One gc later nothing is left.
func TestKilledAtEverySystemCall(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "strace")
	root, killed := newRoot(t), 0
	for _, call := range changes {
		const most = 200
		for n := 1; n <= most; n++ {
			dir := stateDir(t)
			run := stage03(t, dir, "run", "--name", "killed", "--pids", "10", "--memory", "64m", root, "sh", "-c", ":")
			args := append([]string{
				"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n),
			}, run.Args...)
			strace := exec.Command("strace", args...)
			strace.Env = append(os.Environ(), "GOMAXPROCS=1")
			err := strace.Run()
			if out := output(t, stage03(t, dir, "gc")); strings.Contains(out, "removed its cgroup") {
				killed++
			}
			left(t, fmt.Sprintf("%s %d", call, n), dir, "killed")
			if t.Failed() {
				return
			}
			if err == nil { // it made fewer such calls, and was not killed
				break
			}
			if n == most {
				t.Errorf("%s: still killed after %d calls: %v", call, n, err)
			}
		}
	}
	t.Logf("a group was left to gc %d times", killed)
	if killed < 5 {
		t.Errorf("only %d times was there something to undo", killed)
	}
}

// left fails the test if there is something left of a container.
func left(t *testing.T, when, dir, name string) {
	t.Helper()
	paths := []string{dir}
	for _, group := range groupOf(t, dir, name).Paths() {
		paths = append(paths, group)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s is left (error %v)", when, path, err)
		}
	}
}

// A thousand containers' groups live side by side, each with its journal, and go
// away again. The last ones cost what the first ones cost.
func TestAThousandGroups(t *testing.T) {
	testkit.HostUnchanged(t)
	const many, few = 1000, 100
	dir := stateDir(t)
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	var folders []*state.Folder
	t.Cleanup(func() { // after a failure in the middle
		for _, f := range folders {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	var made, removed []time.Duration
	for i := range many {
		began := time.Now()
		f, err := state.Open(dir, fmt.Sprintf("many%d", i), cgroup.Undoers())
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, f)
		group, err := hierarchies.New(fmt.Sprintf("/skiff-test-many%d", i))
		if err == nil {
			err = group.Create(f.Journal)
		}
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, time.Since(began))
	}
	for len(folders) > 0 {
		began := time.Now()
		f := folders[0]
		folders = folders[1:]
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		removed = append(removed, time.Since(began))
	}
	for what, took := range map[string][]time.Duration{"make": made, "remove": removed} {
		first, last := median(took[:few]), median(took[many-few:])
		t.Logf("%s a group in every hierarchy: %d ns at first, %d ns at last", what, first.Nanoseconds(), last.Nanoseconds())
		// What others do on the machine counts as well, so this is no stopwatch; a
		// cost that grows with the number of groups would be ten times as high.
		if max(first, last) > 5*min(first, last) {
			t.Errorf("%s: %v at first, and %v at last", what, first, last)
		}
	}
}

// median is the middle one: a few that waited for others do not move it.
func median(took []time.Duration) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[len(took)/2]
}
