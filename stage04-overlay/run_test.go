package main_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestThePlanOfRun(t *testing.T) {
	testkit.Golden(t, output(t, stage04(t, t.TempDir(), "plan", "/bin/sh", "-c", "echo hello")), "plan.golden")
}

func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // the container whose runtime is killed is left to init
	testkit.Need(t, "tar", "stat", "ls", "cmp", "sed")
	cmd := exec.Command(testkit.Build(t, "."), "demo")
	var aside strings.Builder
	cmd.Stderr = &aside
	shown, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, shown, &aside)
	}
	t.Logf("aside:\n%s", &aside)
	testkit.Golden(t, string(shown), "demo.golden")
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
	if got, want := output(t, stage04(t, state, "diff", dir+"/a")), "./\nsrv/\nsrv/.wh.notes\nsrv/greeting\nsrv/new\n"; got != want {
		t.Errorf("the first one changed %q, want %q", got, want)
	}
}

// What a container changed, packed and unpacked above the layers, is what the
// next container sees.
func TestChangesBecomeALayer(t *testing.T) {
	testkit.HostUnchanged(t)
	state, lower, dir := stateDir(t), newLayers(t), t.TempDir()
	output(t, stage04(t, state, "run", "--lower", lower, "--writable", dir+"/a", "sh", "-c", "cd /srv; echo changed > greeting; rm notes"))
	packed, err := stage04(t, state, "pack", dir+"/a").Output()
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
	// The same in one step, under the same digest.
	want := fmt.Sprintf("sha256:%x\n", sha256.Sum256(packed))
	if got := output(t, stage04(t, state, "commit", dir+"/a", dir+"/again")); !strings.HasSuffix(got, want) {
		t.Errorf("commit says %q, want %q at the end", got, want)
	}
	if a, b := names(t, dir+"/layer"), names(t, dir+"/again"); a != b {
		t.Errorf("unpacked: %s, committed: %s", a, b)
	}
}

// names lists a directory by find(1), as names, kinds, modes and sizes.
func names(t *testing.T, dir string) string {
	t.Helper()
	return output(t, exec.Command("find", dir, "-mindepth", "1", "-printf", "%P %y %m %s\n"))
}

func TestTheRootIsAnOverlay(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := output(t, stage04(t, stateDir(t), "run", "--lower", newLayers(t), "/probe", "hostname", "process", "cwd", "mounts"))
	testkit.Golden(t, withoutDifferences(seen), "inside.golden")
}

// withoutDifferences cuts the options of the overlay off, for they name the layers,
// and leaves out what is masked only where the kernel has it.
func withoutDifferences(seen string) string {
	var b strings.Builder
	for line := range strings.Lines(seen) {
		switch {
		case strings.HasPrefix(line, "mount / overlay "):
			line = "mount / overlay\n"
		case strings.HasPrefix(line, "mount /proc/kcore "), strings.HasPrefix(line, "mount /proc/sysrq-trigger "):
			continue
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
	started(t, cmd)
	return cmd
}

// started starts cmd, and returns when it has printed something. wait waits for
// its end.
func started(t *testing.T, cmd *exec.Cmd) (wait func()) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 64))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = cmd.Wait() } // says that it was ended
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
		{"run", "--lower", dir + "/text", "sh"},
		{"run", "--lower", lower, "--writable", dir + "/missing/a", "sh"},
		{"unpack", dir + "/missing", dir + "/new"},
		{"unpack", dir + "/text", dir + "/new"},
		{"unpack", dir + "/text", dir + "/there"},
		{"run", "--lower", lower, "--ids", "1000", "sh"},
		{"run", "--lower", lower, "--ids", "100000", "--copy", "sh"},
		{"pack", dir + "/missing"},
		{"diff", dir + "/missing"},
		{"layers", dir + "/missing"},
		{"commit", dir + "/missing", dir + "/new"},
	} {
		out, err := stage04(t, stateDir(t), args...).CombinedOutput()
		fmt.Fprint(&got, shown.Replace(fmt.Sprintf("$ stage04 %s\n%s%v\n", strings.Join(args, " "), out, err)))
	}
	// How many steps there are depends on the kernel.
	steps := regexp.MustCompile(`\(step \d+ of \d+\)`)
	testkit.Golden(t, steps.ReplaceAllString(got.String(), "(step N of N)"), "errors.golden")
	if left, err := os.ReadDir(dir); len(left) != 2 || err != nil {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}
