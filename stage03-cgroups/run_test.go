package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// programOf is the name of the program that a process runs, "" if it is gone.
func programOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

func TestThePlanOfRun(t *testing.T) {
	got := output(t, stage03(t, t.TempDir(), "plan", "/srv/root", "/bin/sh", "-c", "echo hello"))
	testkit.Golden(t, got, "plan.golden")
}

func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // the container whose runtime is killed is left to init
	got := output(t, exec.Command(testkit.Build(t, "."), "demo"))
	testkit.Golden(t, got, "demo.golden")
}

func TestLimitsAreTheKernels(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := stage03(t, stateDir(t), "run", "--name", "limits", "--memory", "33554432", "--pids", "7", newRoot(t), "sleep", "60")
	sleeping(t, cmd, "limits")
	stats, err := groupOf(t, "limits").Stats()
	if err != nil {
		t.Error(err)
	} else if stats.Memory.Max != 33554432 || stats.Pids.Max != 7 || stats.Pids.Current != 1 {
		t.Errorf("memory %+v, pids %+v", *stats.Memory, *stats.Pids)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success after SIGTERM")
	}
}

// Without --memory and --pids the container has a group, and no limit.
func TestNoLimitUnlessAsked(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := stage03(t, stateDir(t), "run", "--name", "free", newRoot(t), "sleep", "60")
	sleeping(t, cmd, "free")
	stats, err := groupOf(t, "free").Stats()
	if err != nil {
		t.Error(err)
	} else if stats.Memory.Max != cgroup.NoLimit || stats.Pids.Max != cgroup.NoLimit {
		t.Errorf("memory %+v, pids %+v", *stats.Memory, *stats.Pids)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success after SIGINT")
	}
}

// A tenth of a processor: a loop that never waits gets about a tenth of the
// time that passes.
func TestTheProcessorIsShared(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := stage03(t, stateDir(t), "run", "--name", "spin", "--cpus", "0.1", newRoot(t), "sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, "spin")
	used := func() time.Duration {
		stats, err := group.Stats()
		if err != nil {
			return 0 // the group is not there yet
		}
		return stats.CPU.Usage
	}
	await(t, "a loop that runs", func() bool { return used() > 50*time.Millisecond })
	began, before := time.Now(), used()
	await(t, "100 ms of processor time", func() bool { return used() > before+100*time.Millisecond })
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("100 ms of processor time took %v, want about 1 s", took)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success after SIGTERM")
	}
}

// From inside, the group is the root of the tree of groups, and the process is
// number 1, in every hierarchy.
func TestTheContainerSeesItsGroupAsTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := output(t, stage03(t, stateDir(t), "run", newRoot(t), "/probe", "cgroup"))
	for line := range strings.Lines(seen) {
		if !regexp.MustCompile(`^cgroup \d+:[^:]*:/\n$`).MatchString(line) {
			t.Errorf("it sees %s", line)
		}
	}
	if strings.Count(seen, "\n") == 0 {
		t.Error("it sees no group")
	}
	testkit.Golden(t, output(t, stage03(t, stateDir(t), "run", newRoot(t), "/probe", "hostname", "process", "cwd")), "inside.golden")
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	err := stage03(t, stateDir(t), "run", newRoot(t), "sh", "-c", "exit 7").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v, want 7", err)
	}
}

// A killed runtime leaves its group, and takes its container with it. gc removes
// the group. (That a group with processes in it is removed as well is a test of
// package cgroup.)
func TestGCRemovesWhatAKilledRunLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	state := stateDir(t)
	cmd := stage03(t, state, "run", "--name", "victim", newRoot(t), "sleep", "60")
	sleeping(t, cmd, "victim")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it survived kill -9")
	}
	for _, dir := range groupOf(t, "victim").Paths() {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("the group is not there: %v", err)
		}
	}
	if got, want := output(t, stage03(t, state, "gc")), "container \"victim\": removed its cgroup\n"; got != want {
		t.Errorf("gc says %q, want %q", got, want)
	}
	if got := output(t, stage03(t, state, "gc")); got != "" {
		t.Errorf("a second gc says %q", got)
	}
}

// The next container of the name does it as well.
func TestTheNextRunRemovesWhatAKilledRunLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	state, root := stateDir(t), newRoot(t)
	cmd := stage03(t, state, "run", "--name", "again", root, "sleep", "60")
	sleeping(t, cmd, "again")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it survived kill -9")
	}
	if got := output(t, stage03(t, state, "run", "--name", "again", root, "sh", "-c", "echo $$")); got != "1\n" {
		t.Errorf("got %q", got)
	}
}

// gc leaves a container alone whose runtime lives, and so does another of the
// same name.
func TestALiveContainerIsLeftAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	state, root := stateDir(t), newRoot(t)
	cmd := stage03(t, state, "run", "--name", "alive", root, "sleep", "60")
	sleeping(t, cmd, "alive")
	if got := output(t, stage03(t, state, "gc")); got != "" {
		t.Errorf("gc says %q", got)
	}
	got := refused(t, stage03(t, state, "run", "--name", "alive", root, "sleep", "1"))
	if want := "stage03: lock container \"alive\": device or resource busy\n" +
		"hint: a container of this name is running; give this one another --name\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if pids, err := groupOf(t, "alive").Processes(); len(pids) != 1 || err != nil {
		t.Errorf("processes %v, error %v", pids, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success after SIGTERM")
	}
}

// What is wrong is said in a line, and nothing is left of the attempt.
func TestErrors(t *testing.T) {
	testkit.HostUnchanged(t)
	root := newRoot(t)
	var got strings.Builder
	for _, args := range [][]string{
		{"run"},
		{"run", root},
		{"run", root, "no-such-command"},
		{"run", root + "/missing", "sh"},
		{"run", "--pids", "0", root, "sh"},
		{"run", "--memory", "-1", root, "sh"},
		{"run", "--cpus", "NaN", root, "sh"},
		{"run", "--name", "../box", root, "sh"},
	} {
		cmd := stage03(t, stateDir(t), args...)
		fmt.Fprintf(&got, "$ stage03 %s\n", strings.ReplaceAll(strings.Join(args, " "), root, "ROOT"))
		out, err := cmd.CombinedOutput()
		fmt.Fprintf(&got, "%s%v\n", strings.ReplaceAll(string(out), root, "ROOT"), err)
	}
	testkit.Golden(t, got.String(), "errors.golden")
}
