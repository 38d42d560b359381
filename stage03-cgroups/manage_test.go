package main_test

import (
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

// What can be done to a container while it runs.

// busy starts a container that counts in a file, and returns how far it is.
func busy(t *testing.T, state, name string, flags ...string) (cmd *exec.Cmd, count func() int64) {
	t.Helper()
	root := newRoot(t)
	args := append(append([]string{"run", "--name", name}, flags...), root, "sh", "-c", "while sleep 0.01; do echo >> /count; done")
	cmd = stage03(t, state, args...)
	awake(t, state, name)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count = func() int64 {
		info, err := os.Stat(filepath.Join(root, "count"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	await(t, "a container that counts", func() bool { return count() > 1 })
	return cmd, count
}

// terminate ends a container from outside.
func terminate(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := ended(t, cmd); err == nil {
		t.Error("success after SIGTERM")
	}
}

func TestAFrozenContainerStandsStill(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd, count := busy(t, state, "frozen")
	for range 2 { // twice is fine
		output(t, stage03(t, state, "freeze", "frozen"))
	}
	before := count()
	if shown := output(t, stage03(t, state, "top", "--once")); !strings.Contains(shown, "frozen  frozen") { // which takes a while
		t.Errorf("top says\n%s", shown)
	}
	if after := count(); after != before {
		t.Errorf("it counted from %d to %d", before, after)
	}
	for range 2 {
		output(t, stage03(t, state, "thaw", "frozen"))
	}
	await(t, "a container that goes on", func() bool { return count() > before })
	output(t, stage03(t, state, "freeze", "frozen"))
	terminate(t, cmd) // also while it is frozen
}

func TestLimitsChangeWhileItRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd, _ := busy(t, state, "changing", "--memory", "64m", "--pids", "20")
	for _, step := range []struct{ flags, want string }{
		{"--memory 128m", "memory.max 134217728\nmemory.swap_max 0\npids.max 20"}, // up, where swap has to go first
		{"--memory 32m --pids 30", "memory.max 33554432\nmemory.swap_max 0\npids.max 30"},
		{"--memory-swap 96m", "memory.max 33554432\nmemory.swap_max 67108864\npids.max 30"}, // of both together
		{"--memory 64m", "memory.max 67108864\nmemory.swap_max 67108864\npids.max 30"},      // what is not asked for stays
		{"--memory max --pids max", "memory.max max\nmemory.swap_max max\npids.max max"},
	} {
		output(t, stage03(t, state, append(append([]string{"update"}, strings.Fields(step.flags)...), "changing")...))
		var got []string
		for line := range strings.Lines(output(t, stage03(t, state, "stats", "changing"))) {
			if strings.HasPrefix(line, "memory.max ") || strings.HasPrefix(line, "memory.swap_max ") || strings.HasPrefix(line, "pids.max ") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if strings.Join(got, "\n") != step.want {
			t.Errorf("update %s: got %q", step.flags, got)
		}
	}
	// A container holds more than a page, and needs it.
	said := refused(t, stage03(t, state, "update", "--memory", "4096", "changing"))
	if !strings.Contains(said, "device or resource busy\nhint: the group uses more memory than that") {
		t.Errorf("a limit below what is in use: %s", said)
	}
	terminate(t, cmd)
}

// Events are told when they happen, and can be read afterwards.
func TestEvents(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	const script = `sleep 0.5; sh -c 'text=x; while [ ${#text} -lt 33554432 ]; do text=$text$text; done'
( n=0; while [ $n -lt 10 ]; do sleep 60 & n=$((n+1)); done ) 2> /dev/null
while :; do read line < /dev/zero; done`
	cmd := stage03(t, state, "run", "--name", "events", "--memory", "16m", "--pids", "6", newRoot(t), "sh", "-c", script)
	awake(t, state, "events")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, state, "events")
	await(t, "a process", func() bool { pids, err := group.Processes(); return err == nil && len(pids) > 0 })
	var told strings.Builder
	watch := stage03(t, state, "events", "events")
	watch.Stdout, watch.Stderr = &told, &told
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "both events", func() bool {
		stats, err := group.Stats()
		return err == nil && stats.Memory != nil && stats.Memory.OOMKill > 0 && stats.Pids.Refused > 0
	})
	once := output(t, stage03(t, state, "events", "--once", "events"))
	output(t, stage03(t, state, "kill", "events"))
	if err := ended(t, cmd); err == nil {
		t.Error("it was not killed")
	}
	if err := ended(t, watch); err != nil {
		t.Errorf("events: %v", err)
	}
	for what, said := range map[string]string{"events": told.String(), "events --once": once} {
		if !strings.Contains(said, "memory.oom_kill 1\n") {
			t.Errorf("%s: no oom_kill in\n%s", what, said)
		}
	}
	if !strings.Contains(once, "pids.max ") {
		t.Errorf("events --once: no pids.max in\n%s", once)
	}
}

// Pressure is drawn, or it is said why not.
func TestPressure(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd, _ := busy(t, state, "pressed")
	stats, err := groupOf(t, state, "pressed").Stats()
	if err != nil {
		t.Error(err)
	} else if stats.Pressure == nil {
		if said := refused(t, stage03(t, state, "pressure", "pressed")); !strings.Contains(said, "psi=1") {
			t.Errorf("got %s", said)
		}
	} else if shown := output(t, stage03(t, state, "pressure", "pressed")); strings.Count(shown, "\n") < 3 || !strings.Contains(shown, "cpu    some  ") {
		t.Errorf("got\n%s", shown)
	}
	terminate(t, cmd)
}

// top shows each container, and the words choose among them.
func TestTop(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	one, _ := busy(t, state, "one", "--pids", "9")
	two, _ := busy(t, state, "two", "--memory", "64m")
	all := output(t, stage03(t, state, "top", "--once"))
	lines := strings.Split(all, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "one ") || !strings.Contains(lines[1], " running ") || !strings.Contains(lines[1], "/9 ") ||
		!strings.HasPrefix(lines[2], "two ") || !strings.Contains(lines[2], "/64M ") {
		t.Errorf("got\n%s", all)
	}
	if got := regexp.MustCompile(` \d+% `).FindAllString(all, -1); len(got) != 2 {
		t.Errorf("processor time of %d containers of two:\n%s", len(got), all)
	}
	if some := output(t, stage03(t, state, "top", "--once", "two")); strings.Contains(some, "one") {
		t.Errorf("top two: got\n%s", some)
	}
	terminate(t, one)
	terminate(t, two)
	if none := output(t, stage03(t, state, "top", "--once")); strings.Count(none, "\n") != 1 {
		t.Errorf("top of nothing: got\n%s", none)
	}
}

// What is wrong is said in a line, and nothing is left of the attempt.
func TestErrors(t *testing.T) {
	testkit.HostUnchanged(t)
	root := newRoot(t)
	var got strings.Builder
	try := func(cmd *exec.Cmd, args []string) {
		t.Helper()
		fmt.Fprintf(&got, "$ stage03 %s\n", strings.ReplaceAll(strings.Join(args, " "), root, "ROOT"))
		out, err := cmd.CombinedOutput()
		fmt.Fprintf(&got, "%s%v\n", strings.ReplaceAll(string(out), root, "ROOT"), err)
	}
	for _, args := range [][]string{
		{"run"},
		{"run", root},
		{"run", root, "no-such-command"},
		{"run", root + "/missing", "sh"},
		{"run", "--name", "../box", root, "sh"},
		{"stats", "nobody"},
		{"freeze", "a/b"},
		{"update", "nobody"},
		{"update", "--pids", "10", "nobody"},
		{"update", "--device", "c 1:3 r", "nobody"},
	} {
		try(stage03(t, stateDir(t), args...), args)
	}
	for _, flag := range []string{
		"memory=0", "memory=-1", "memory=", "memory=64q", "memory=1.5g", "memory=9999999999g", "memory=99999999999999999999",
		"cpus=NaN", "cpus=-1", "cpus=0.001", "cpus=1e9", "cpus=half", "cpu-weight=0", "cpu-weight=10001", "cpu-shares=1", "pids=0", "pids=-2", "pids=many", "pids=5000000",
		"io-read=/dev/null:1m", "io-read=/no/such:1m", "io-write=7:0", "io-write=7:x:1m", "io-write=8", "io-write=7:0:0",
		"device=c", "device=x 1:3 r", "device=c 1 r", "device=c 1:3 q", "device=c -1:3 r", "device=c 4294967295:3 r", "device=c 1:4294967295 r", "cpuset-cpus=",
		"unified=memory.max", "unified==1",
	} {
		args := []string{"run", "--" + flag, root, "sh"}
		try(stage03(t, stateDir(t), args...), args)
	}
	for _, flags := range []string{
		"--memory 64m --memory-swap 32m", "--memory-swap 32m", "--cpu-weight 10 --cpu-shares 10", "--unified a.b=1 --unified a.b=2", "--no-such-flag",
	} {
		args := append(append([]string{"run"}, strings.Fields(flags)...), root, "sh")
		try(stage03(t, stateDir(t), args...), args)
	}
	testkit.Golden(t, got.String(), "errors.golden")
}

// The kernel refuses these, in words that depend on the version. Nothing is left.
func TestWhatTheKernelRefuses(t *testing.T) {
	testkit.HostUnchanged(t)
	root := newRoot(t)
	for _, refusal := range []struct{ flag, value, want string }{
		{"cpuset-cpus", "4000", "hint: "},
		{"cpuset-cpus", "x", "hint: a list is like"},
		{"io-write", "259:4095:1m", "hint: there is no disk with that number"},
		{"unified", "nosuch.max=1", `controller "nosuch": no such controller on this machine`},
		{"unified", "memory/max=1", "is not the name of a cgroup file"},
	} {
		said := refused(t, stage03(t, stateDir(t), "run", "--"+refusal.flag, refusal.value, root, "sh"))
		if !strings.Contains(said, refusal.want) {
			t.Errorf("--%s %s: %s", refusal.flag, refusal.value, said)
		}
	}
}

// Who is not root hears so, before anything is tried.
func TestAnOrdinaryUserIsToldToBeRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	root := newRoot(t)
	program := filepath.Join(os.TempDir(), fmt.Sprintf("stage03-%d", os.Getpid()))
	output(t, exec.Command("install", "-m", "755", testkit.Build(t, "."), program))
	t.Cleanup(func() {
		if err := os.Remove(program); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{
		{"run", root, "sh"}, {"stats", "box"}, {"freeze", "box"}, {"top", "--once"}, {"gc"}, {"demo"},
	} {
		cmd := exec.Command(program, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if said := refused(t, cmd); !strings.Contains(said, "root") || !strings.Contains(said, "\nhint: ") {
			t.Errorf("%s: %s", args[0], said)
		}
	}
}
