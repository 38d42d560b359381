package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// kill -9 at every moment of a run.

// changes are the system calls by which a run changes the host, or the process that
// it starts its mounts.
var changes = []string{"mkdirat", "write", "unlinkat", "flock", "clone3", "fsmount", "move_mount", "renameat"}

// strace kills the process, or another one of the run, when it makes such a call
// for the n-th time: before the call is carried out. So each point between two of
// them is met. One gc later nothing is left.
func TestKilledAtEverySystemCall(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "strace")
	lower, killed := newLayers(t), 0
	for _, flags := range [][]string{nil, {"--ids", "100000"}, {"--copy"}} {
		for _, call := range changes {
			if len(flags) > 0 && call != "mkdirat" && call != "move_mount" && call != "renameat" {
				continue // nothing else is new
			}
			killed += killEach(t, call, append(append([]string{"run", "--lower", lower}, flags...), "sh", "-c", ":"))
		}
	}
	t.Logf("killed %d times", killed)
	if killed < 20 {
		t.Errorf("killed only %d times", killed)
	}
}

// killEach kills at each call, until a run makes fewer.
func killEach(t *testing.T, call string, args []string) (killed int) {
	t.Helper()
	for n := 1; ; n++ {
		dir := t.TempDir() + "/state"
		run := stage04(t, dir, args...)
		strace := exec.Command("strace", append([]string{
			"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
			"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n),
		}, run.Args...)...)
		strace.Env = append(os.Environ(), "GOMAXPROCS=1")
		err := strace.Run()
		output(t, stage04(t, dir, "gc"))
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%q killed at %s number %d: the folder of journals is left (error %v)", args, call, n, err)
		}
		if places, _ := filepath.Glob("/run/skiff-stage04.*"); len(places) > 0 {
			t.Fatalf("%q killed at %s number %d: left are %v", args, call, n, places)
		}
		if err == nil {
			return n - 1
		}
		if n == 200 {
			t.Fatalf("%q: still killed after %d calls of %s: %v", args, n, call, err)
		}
	}
}
