package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// What the container sees of its groups depends on the machine: package
// cgroupmount has the plans of that.
func TestThePlanOfRun(t *testing.T) {
	got := output(t, stage03(t, t.TempDir(), "plan", "/srv/root", "/bin/sh", "-c", "echo hello"))
	cgroups := regexp.MustCompile(`(?s)# mount /sys/fs/cgroup .*?\n\n`)
	if !cgroups.MatchString(got) {
		t.Errorf("no mount of the cgroups in\n%s", got)
	}
	testkit.Golden(t, cgroups.ReplaceAllString(got, "# mount /sys/fs/cgroup …\n\n"), "plan.golden")
}

// What this machine cannot show, the demonstration says aside, and the rest must
// be as it is elsewhere.
func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // the container whose runtime is killed is left to init
	cmd := exec.Command(testkit.Build(t, "."), "demo")
	var aside strings.Builder
	cmd.Stderr = &aside
	shown, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, shown, &aside)
	}
	t.Logf("aside:\n%s", &aside)
	if !strings.Contains(aside.String(), "(left out: a disk: ") {
		testkit.Golden(t, string(shown), "demo.golden")
		return
	}
	want, err := os.ReadFile("testdata/demo.golden")
	if err != nil {
		t.Fatal(err)
	}
	part := regexp.MustCompile(`(?s)== \d+\. a disk\n.*?\n\n`)
	if got, want := part.ReplaceAllString(testkit.Normalize(string(shown)), ""), part.ReplaceAllString(string(want), ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLimitsAreTheKernels(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd := stage03(t, state, "run", "--name", "limits", "--memory", "33554432", "--pids", "7", newRoot(t), "sleep", "60")
	sleeping(t, cmd, state, "limits")
	stats, err := groupOf(t, state, "limits").Stats()
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
	state := stateDir(t)
	cmd := stage03(t, state, "run", "--name", "free", newRoot(t), "sleep", "60")
	sleeping(t, cmd, state, "free")
	stats, err := groupOf(t, state, "free").Stats()
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

// Two who keep their containers in folders of their own do not know of each other.
// Nor do their containers of one name meet in a group.
func TestContainersOfOneNameInTwoFolders(t *testing.T) {
	testkit.HostUnchanged(t)
	root, here, there := newRoot(t), stateDir(t), stateDir(t)
	first := stage03(t, here, "run", "--name", "twin", "--pids", "7", root, "sleep", "60")
	sleeping(t, first, here, "twin")
	if got := output(t, stage03(t, there, "run", "--name", "twin", "--pids", "9", root, "sh", "-c", "echo $$")); got != "1\n" {
		t.Errorf("the second prints %q", got)
	}
	if stats, err := groupOf(t, here, "twin").Stats(); err != nil || stats.Pids.Max != 7 || stats.Pids.Current != 1 {
		t.Errorf("of the first: %+v, error %v", stats, err)
	}
	terminate(t, first)
}

// A group that is there already is somebody else's, or has lost its journal: a
// container neither shares it nor ends it.
func TestAGroupThatIsThereIsNotShared(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	group := groupOf(t, state, "box")
	if err := group.Create(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := group.Delete(); err != nil {
			t.Error(err)
		}
	})
	said := refused(t, stage03(t, state, "run", newRoot(t), "sh", "-c", "echo it runs"))
	if !strings.Contains(said, ": file exists\nhint: give the container another --name") {
		t.Errorf("got %s", said)
	}
	for _, dir := range group.Paths() {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
}

// Letters that a path could be made of do not make one group of two.
func TestContainersWhosePathsLookAlike(t *testing.T) {
	testkit.HostUnchanged(t)
	top, root := t.TempDir(), newRoot(t)
	first := stage03(t, top+"/s/x", "run", "--name", "y", root, "sleep", "60")
	if err := os.Mkdir(top+"/s", 0o700); err != nil {
		t.Fatal(err)
	}
	sleeping(t, first, top+"/s/x", "y")
	for state, name := range map[string]string{top + "/s": "x-y", top + "/s-x": "y"} {
		if got := output(t, stage03(t, state, "run", "--name", name, root, "sh", "-c", "echo $$")); got != "1\n" {
			t.Errorf("%s %s: it prints %q", state, name, got)
		}
		refused(t, stage03(t, state, "kill", name))
	}
	if pids, err := groupOf(t, top+"/s/x", "y").Processes(); len(pids) != 1 || err != nil {
		t.Errorf("of the first: processes %v, error %v", pids, err)
	}
	terminate(t, first)
}

// A folder has one name, whatever links lead there.
func TestALinkToTheStateFolder(t *testing.T) {
	testkit.HostUnchanged(t)
	top, root := t.TempDir(), newRoot(t)
	if err := os.Symlink(top+"/real", top+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(top+"/real", 0o700); err != nil {
		t.Fatal(err)
	}
	long := stage03(t, top+"/link", "run", "--name", "long", root, "sleep", "60")
	sleeping(t, long, top+"/real", "long")
	output(t, stage03(t, top+"/link", "run", "--name", "short", root, "sh", "-c", ":"))
	output(t, stage03(t, top+"/real", "kill", "long"))
	if err := ended(t, long); err == nil {
		t.Error("it was not killed")
	}
	if _, err := os.Lstat(top + "/link"); err != nil {
		t.Error(err)
	}
}

// CLONE_INTO_CGROUP: the process is born in its group of version 2. The parent puts
// it into those of version 1, and no more.
func TestTheProcessIsBornInItsGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	state := stateDir(t)
	v2, there := groupOf(t, state, "born").Paths()[""]
	if !there {
		t.Skip("this machine has no v2 hierarchy")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	run := stage03(t, state, "run", "--name", "born", newRoot(t), "sh", "-c", ":")
	output(t, exec.Command("strace", append([]string{"-f", "-y", "-e", "trace=clone3,write", "-o", trace}, run.Args...)...))
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`clone3\(.*\|CLONE_INTO_CGROUP,`).Match(text) || strings.Contains(string(text), v2+"/cgroup.procs") {
		t.Errorf("strace saw\n%s", text)
	}
}

// Flags, read back where the kernel keeps them: by cat, in the container.
func TestEveryLimitIsInItsFile(t *testing.T) {
	testkit.HostUnchanged(t)
	root := attackRoot(t)
	for _, limit := range []struct {
		flag, value  string
		file1, want1 string // version 1
		file2, want2 string // version 2
	}{
		{"memory", "64m", "memory/memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
		{"memory", "1048576k", "memory/memory.limit_in_bytes", "1073741824", "memory.max", "1073741824"},
		{"memory", "1g", "memory/memory.limit_in_bytes", "1073741824", "memory.max", "1073741824"},
		{"memory", "1t", "memory/memory.limit_in_bytes", "1099511627776", "memory.max", "1099511627776"},
		{"cpus", "0.29", "cpu/cpu.cfs_quota_us", "29000", "cpu.max", "29000 100000"}, // 28999.99… is not cut off
		{"cpus", "0.5", "cpu/cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"},
		{"cpus", "max", "cpu/cpu.cfs_quota_us", "-1", "cpu.max", "max 100000"},
		{"cpu-weight", "100", "cpu/cpu.shares", "1024", "cpu.weight", "100"},
		{"cpu-weight", "1", "cpu/cpu.shares", "2", "cpu.weight", "1"},
		{"cpu-shares", "2048", "cpu/cpu.shares", "2048", "cpu.weight", "174"},
		{"cpuset-cpus", "0", "cpuset/cpuset.cpus", "0", "cpuset.cpus", "0"},
		{"pids", "7", "pids/pids.max", "7", "pids.max", "7"},
		{"pids", "max", "pids/pids.max", "max", "pids.max", "max"},
	} {
		file, want := limit.file2, limit.want2
		if hasV1(t, strings.Split(limit.file1, "/")[0]) {
			file, want = limit.file1, limit.want1
		} else if hasV1(t, "") {
			file = "unified/" + file
		}
		line := "cat /sys/fs/cgroup/" + file
		got := output(t, stage03(t, stateDir(t), "run", "--"+limit.flag, limit.value, root, "sh", "-c", line))
		if strings.TrimSpace(got) != want {
			t.Errorf("--%s %s: %s has %q, want %q", limit.flag, limit.value, file, got, want)
		}
	}
}

// --unified writes files of version 2, whatever they are.
func TestUnifiedFiles(t *testing.T) {
	testkit.HostUnchanged(t)
	group := groupOf(t, stateDir(t), "box")
	if _, v2 := group.Paths()[""]; !v2 {
		t.Skip("this machine has no v2 hierarchy")
	}
	place := "/sys/fs/cgroup/"
	if hasV1(t, "") {
		place += "unified/"
	}
	got := output(t, stage03(t, stateDir(t), "run", "--unified", "cgroup.max.depth=3", attackRoot(t), "cat", place+"cgroup.max.depth"))
	if got != "3\n" {
		t.Errorf("got %q", got)
	}
}

// hasV1 tells whether a controller is in a v1 hierarchy; "" is any.
func hasV1(t *testing.T, controller string) bool {
	t.Helper()
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hierarchies.V1 {
		if controller == "" || slices.Contains(h.Controllers, controller) {
			return true
		}
	}
	return false
}

// A tenth of a processor: a loop that never waits gets about a tenth of the
// time that passes.
func TestTheProcessorIsShared(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd := stage03(t, state, "run", "--name", "spin", "--cpus", "0.1", newRoot(t), "sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, state, "spin")
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
	sleeping(t, cmd, state, "victim")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it survived kill -9")
	}
	for _, dir := range groupOf(t, state, "victim").Paths() {
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
	sleeping(t, cmd, state, "again")
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
	sleeping(t, cmd, state, "alive")
	if got := output(t, stage03(t, state, "gc")); got != "" {
		t.Errorf("gc says %q", got)
	}
	got := refused(t, stage03(t, state, "run", "--name", "alive", root, "sleep", "1"))
	if want := "stage03: lock container \"alive\": device or resource busy\n" +
		"hint: a container of this name is running; give this one another name\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if pids, err := groupOf(t, state, "alive").Processes(); len(pids) != 1 || err != nil {
		t.Errorf("processes %v, error %v", pids, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success after SIGTERM")
	}
}
