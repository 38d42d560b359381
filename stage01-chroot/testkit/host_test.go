package testkit_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// recorder is a test in the test: it notes failures instead of failing.
type recorder struct {
	testing.TB
	cleanups []func()
	said     string
}

func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) { r.said += fmt.Sprintf(format, args...) }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf("fatal: "+format, args...) }
func (r *recorder) Fatal(args ...any)                 { r.said += "fatal: " + fmt.Sprint(args...) }
func (r *recorder) Skip(args ...any)                  { r.said += "skip: " + fmt.Sprint(args...) }

func (r *recorder) finish() {
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
}

func TestHostUnchangedNamesWhatATestLeavesBehind(t *testing.T) {
	testkit.HostUnchanged(t)
	inner := &recorder{TB: t}
	testkit.HostUnchanged(inner)
	leaked, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leaked.Close()
	inner.finish()
	want := fmt.Sprintf("the host is not as it was before the test:\n"+
		"\tdescriptor left behind: /etc/passwd (descriptor %d)", leaked.Fd())
	if inner.said != want {
		t.Errorf("it said %q, want %q", inner.said, want)
	}
}

func TestHostUnchangedIsQuietWhenNothingIsLeft(t *testing.T) {
	inner := &recorder{TB: t}
	testkit.HostUnchanged(inner)
	inner.finish()
	if inner.said != "" {
		t.Errorf("it said %q", inner.said)
	}
}

func TestAMissingProgramSkipsATestAndFailsItInCI(t *testing.T) {
	const reason = "needs programs that are not in PATH: no-such-program, nor-this"
	for ci, want := range map[string]string{"": "skip: " + reason, "false": "skip: " + reason, "true": "fatal: " + reason + "skip: " + reason} {
		t.Setenv("CI", ci)
		inner := &recorder{TB: t}
		testkit.Need(inner, "no-such-program", "sh", "nor-this")
		if inner.said != want {
			t.Errorf("CI=%q: it said %q, want %q", ci, inner.said, want)
		}
	}
}

func TestASnapshotComparesWithTheNext(t *testing.T) {
	testkit.HostUnchanged(t)
	before, err := testkit.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	after, err := testkit.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	diff := before.Diff(after)
	if len(diff) != 2 || !strings.HasPrefix(diff[0], "descriptor left behind: pipe:[") {
		t.Errorf("a pipe's two ends should differ, got %q", diff)
	}
}
