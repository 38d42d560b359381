package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestThePlanOfRun(t *testing.T) {
	testkit.Golden(t, output(t, stage04(t, t.TempDir(), "plan", "/bin/sh", "-c", "echo hello")), "plan.golden")
}

func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar", "stat", "ls")
	testkit.Golden(t, output(t, exec.Command(testkit.Build(t, "."), "demo")), "demo.golden")
}

// Two containers on the same layers: each one sees its own changes and none of
// the other's, and the layers stay as they are to the nanosecond.
func TestContainersShareTheLayersAndNotTheirChanges(t *testing.T) {
	testkit.HostUnchanged(t)
	state, lower, dir := stateDir(t), newLayers(t), t.TempDir()
	before := tree(t, lower)
	output(t, stage04(t, state, "run", "--lower", lower, "--writable", dir+"/a",
		"sh", "-c", "cd /srv; echo changed > greeting; rm notes; echo a > new"))
	output(t, stage04(t, state, "run", "--lower", lower, "--writable", dir+"/b", "sh", "-c", "rm -r /srv; : > /x"))
	got := output(t, stage04(t, state, "run", "--lower", lower, "sh", "-c", "cd /srv; echo *; cat *"))
	if want := "greeting notes\nhello\nof the base\n"; got != want {
		t.Errorf("a third container sees %q, want %q", got, want)
	}
	if after := tree(t, lower); after != before {
		t.Errorf("the layers were\n%sand are\n%s", before, after)
	}
	if got, want := output(t, stage04(t, state, "diff", dir+"/a/upper")), "./\nsrv/\nsrv/.wh.notes\nsrv/greeting\nsrv/new\n"; got != want {
		t.Errorf("the first one changed %q, want %q", got, want)
	}
}

// What a container changed, packed and unpacked above the layers, is what the
// next container sees.
func TestChangesBecomeALayer(t *testing.T) {
	testkit.HostUnchanged(t)
	state, lower, dir := stateDir(t), newLayers(t), t.TempDir()
	output(t, stage04(t, state, "run", "--lower", lower, "--writable", dir+"/a", "sh", "-c", "cd /srv; echo changed > greeting; rm notes"))
	packed, err := stage04(t, state, "pack", dir+"/a/upper").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/a.tar", packed, 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, stage04(t, state, "unpack", "--lower", lower, dir+"/a.tar", dir+"/layer"))
	got := output(t, stage04(t, state, "run", "--lower", dir+"/layer:"+lower, "sh", "-c", "cd /srv; echo *; cat *"))
	if want := "greeting\nchanged\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheRootIsAnOverlay(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := output(t, stage04(t, stateDir(t), "run", "--lower", newLayers(t), "/probe", "hostname", "process", "cwd", "mounts"))
	testkit.Golden(t, withoutLayers(seen), "inside.golden")
}

// withoutLayers cuts the options of the overlay off: they name the layers.
func withoutLayers(seen string) string {
	var b strings.Builder
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "mount / overlay ") {
			line = "mount / overlay\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	err := stage04(t, stateDir(t), "run", "--lower", newLayers(t), "sh", "-c", "exit 7").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v, want 7", err)
	}
}

// running starts a container that says when it runs, and then sleeps.
func running(t *testing.T, state string) *exec.Cmd {
	t.Helper()
	cmd := stage04(t, state, "run", "--name", "victim", "--lower", newLayers(t), "sh", "-c", "echo started; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestAfterCtrlCNothingIsLeft(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := running(t, stateDir(t))
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it went on after Ctrl-C")
	}
}

// The container ends with its runtime; its files are removed by gc.
func TestGCRemovesWhatAKilledRunLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	state := stateDir(t)
	cmd := running(t, state)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it survived kill -9")
	}
	if _, err := os.Stat(filepath.Join(state, "victim", "writable", "upper")); err != nil {
		t.Errorf("there is nothing to collect: %v", err)
	}
	if got, want := output(t, stage04(t, state, "gc")), "container \"victim\": removed its files\n"; got != want {
		t.Errorf("gc says %q, want %q", got, want)
	}
}

// What is wrong is said in a line, and nothing is left of the attempt.
func TestErrors(t *testing.T) {
	testkit.HostUnchanged(t)
	lower, dir := newLayers(t), t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/text", []byte(strings.Repeat("no tar file\n", 100)), 0o644), os.Mkdir(dir+"/there", 0o755)); err != nil {
		t.Fatal(err)
	}
	shown := strings.NewReplacer(lower, "TOP:BASE", dir, "DIR")
	var got strings.Builder
	for _, args := range [][]string{
		{"run", "sh"},
		{"run", "--lower", lower},
		{"run", "--lower", lower, "no-such-command"},
		{"run", "--lower", lower, "/srv/greeting"},
		{"run", "--lower", dir + "/missing", "sh"},
		{"run", "--lower", lower, "--writable", dir + "/missing/a", "sh"},
		{"unpack", dir + "/missing", dir + "/new"},
		{"unpack", dir + "/text", dir + "/new"},
		{"unpack", dir + "/text", dir + "/there"},
		{"pack", dir + "/missing"},
		{"diff", dir + "/missing"},
	} {
		out, err := stage04(t, stateDir(t), args...).CombinedOutput()
		fmt.Fprint(&got, shown.Replace(fmt.Sprintf("$ stage04 %s\n%s%v\n", strings.Join(args, " "), out, err)))
	}
	testkit.Golden(t, got.String(), "errors.golden")
	if left, err := os.ReadDir(dir); len(left) != 2 || err != nil {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}
