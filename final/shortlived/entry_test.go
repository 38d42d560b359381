package shortlived_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// report runs testdata/report by a shell's line, in which it is $0.
func report(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line, testkit.Build(t, "./testdata/report")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// An ordinary user may not change that of another thread.
func TestSysmonOnlyIsDelayed(t *testing.T) {
	testkit.Root(t)
	runtime.LockOSThread() // for good: its timer slack is changed
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 70_000, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	out := report(t, `exec "$0"`)
	for _, want := range []string{"caller 70000\n", "main 70000\n", "other 10000000\n"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is not in here once:\n%s", want, out)
		}
	}
}

// What the entry changes is the caller's again when the program starts others.
func TestEntryGivesBack(t *testing.T) {
	if out := report(t, `ulimit -Sn 100; ulimit -Hn 200; exec "$0"`); !strings.Contains(out, "files 100 200\n") {
		t.Error(out)
	}
}

// Go opens /dev/null for what is closed, and needs a descriptor for that.
func TestEntryLeavesStandardDescriptors(t *testing.T) {
	if out := report(t, `exec "$0" <&- 2>&-`); !strings.Contains(out, "caller ") {
		t.Error(out)
	}
}

// With a limit that the entry cannot undercut, the program begins all the same.
func TestEntryWithFewDescriptors(t *testing.T) {
	if out := report(t, `ulimit -Sn 2; ulimit -Hn 2; exec "$0"`); !strings.Contains(out, "caller ") {
		t.Error(out)
	}
}

// What strace(1) sees before Go's runtime begins, and what that cannot open.
func TestGoDoesNotLookForItsCgroup(t *testing.T) {
	testkit.Need(t, "strace")
	out := report(t, `strace -f -e trace=openat "$0" 2>&1`)
	for _, file := range []string{"/proc/self/cgroup", "/proc/self/mountinfo"} {
		for line := range strings.Lines(out) {
			if strings.Contains(line, file) && !strings.Contains(line, "EMFILE") {
				t.Error(line)
			}
		}
	}
}
