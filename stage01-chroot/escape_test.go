package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/testkit"
)

// The ways out are real. Each is tried by a program in a root, which reads a
// file of the host; and each that can be stopped here is stopped.

// prison is a root with this program in it, and a secret outside.
type prison struct{ root, secret string }

const secretText = "the host's secret"

func newPrison(t *testing.T) prison {
	t.Helper()
	p := prison{busyboxRoot(t), filepath.Join(t.TempDir(), "secret")}
	output(t, exec.Command("cp", testkit.Build(t, "."), p.root+"/stage01"))
	if err := os.WriteFile(p.secret, []byte(secretText), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// escape is what the program in the root is called with, to leave it.
func (p prison) escape(by string) []string {
	return []string{"/stage01", "escape", "--by", by, "/bin/cat", p.secret}
}

// run is stage01 run with a way out as the program.
func (p prison) run(t *testing.T, by string, flags ...string) *exec.Cmd {
	t.Helper()
	return stage01(t, append(append(append([]string{"run"}, flags...), p.root), p.escape(by)...)...)
}

// hostDirectory gives cmd the host's root as descriptor 3.
func hostDirectory(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	cmd.ExtraFiles = []*os.File{dir}
	return cmd
}

// asProcess1 makes cmd, a shell script, the first process of a pid namespace,
// so that there is one whose root is the host's and that we may look into
// everywhere; on many a host it is init, and not on all of them may a test look
// into that. Its mounts end with it.
func asProcess1(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

func TestEveryWayOutLeavesTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "chroot")
	p := newPrison(t)
	for _, way := range escape.Ways {
		cmd := p.run(t, way.Name)
		switch way.Name {
		case "leak": // chroot(8) hands on what it was given
			cmd = hostDirectory(t, exec.Command("chroot", append([]string{p.root}, p.escape(way.Name)...)...))
		case "proc":
			run := p.run(t, way.Name, "--proc")
			cmd = asProcess1(exec.Command("sh", append([]string{"-c", `"$@"; exit $?`, "sh"}, run.Args...)...))
		}
		if got := output(t, cmd); got != secretText {
			t.Errorf("%s: got %q", way.Name, got)
		}
	}
}

func TestOurOwnRunLeavesNoDescriptorToEscapeBy(t *testing.T) {
	testkit.HostUnchanged(t)
	said := mistake(t, hostDirectory(t, newPrison(t).run(t, "leak")))
	testkit.Golden(t, said, "leak.golden")
}

func TestWithoutProcItsWayOutIsShut(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Golden(t, mistake(t, newPrison(t).run(t, "proc")), "noproc.golden")
}

// Taking the capability away shuts the doors that need nothing else.
func TestASecondRootNeedsTheCapability(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv")
	p := newPrison(t)
	output(t, stage01(t, "root", p.root, "setpriv"))
	for _, by := range []string{"chroot", "descriptor"} {
		args := append([]string{"run", p.root, "setpriv", "--bounding-set=-sys_chroot"}, p.escape(by)...)
		out, err := stage01(t, args...).CombinedOutput()
		if want := `change root to "way-out": operation not permitted`; err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, %q, want %q", by, err, out, want)
		}
	}
}

// The names that lead out through /proc need no plan, and no capability.
func TestTheRootOfAnotherProcessIsInReachByName(t *testing.T) {
	testkit.HostUnchanged(t)
	p := newPrison(t)
	run := stage01(t, "run", "--proc", p.root, "/bin/busybox", "cat", "/proc/1/root"+p.secret)
	cmd := asProcess1(exec.Command("sh", append([]string{"-c", `"$@"; exit $?`, "sh"}, run.Args...)...))
	if got := output(t, cmd); got != secretText {
		t.Errorf("got %q", got)
	}
}

func TestTheKernelSeesThePlansOfTheWaysOut(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	for by, first := range map[string]string{"chroot": "mkdirat(", "descriptor": `openat2(AT_FDCWD, "."`} {
		plan := output(t, stage01(t, "escape", "--plan", "--by", by, "/bin/true"))
		traced(t, plan, first, "run", newPrison(t).root, "/stage01", "escape", "--by", by, "/bin/true")
	}
	// On the host, with the root of this test.
	self := strconv.Itoa(os.Getpid())
	plan := output(t, stage01(t, "escape", "--plan", "--by", "proc", "--pid", self, "/bin/true"))
	traced(t, plan, "chroot(", "escape", "--by", "proc", "--pid", self, "/bin/true")
}
