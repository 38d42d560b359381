package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// The life cycle of runtime-spec runtime.md, point by point, where other runtimes
// went wrong. What is said of hooks (points 3 to 8) is in hooks_test.go.

// Point 1: create applies everything except process.args, so that nothing is left
// for start to fail at but the program.
func TestMust1CreateAppliesEverythingButTheProgram(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "nsenter")
	b := newBundle(t, writable, program("sh", "-c", "echo > /ran; sleep 100"), func(s *specs.Spec) {
		score := 77
		s.Hostname = "made-at-create"
		s.Process.OOMScoreAdj = &score
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/made", Type: "tmpfs", Source: "tmpfs"})
	})
	b.succeed("create", "--bundle", b.dir, "box")
	pid := b.pid("box")
	if got := b.read(procFile(pid, "oom_score_adj")); got != "77\n" {
		t.Errorf("oom_score_adj %q", got)
	}
	if mounts := b.read(procFile(pid, "mountinfo")); !strings.Contains(mounts, " /made ") || strings.Contains(mounts, "rootfs "+b.dir) {
		t.Errorf("its mounts:\n%s", mounts)
	}
	out, err := exec.Command("nsenter", "--uts", "--target", strconv.Itoa(pid), "hostname").Output()
	if b.must(err); string(out) != "made-at-create\n" {
		t.Errorf("its name is %q", out)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("the program has run")
	}
	b.succeed("delete", "box")
}

// pid is that of a container's first process.
func (b *bundle) pid(id string) int {
	b.Helper()
	var state specs.State
	b.must(json.Unmarshal([]byte(b.succeed("state", id)), &state))
	return state.Pid
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// Point 1: after an error it is as if create had never been tried. Here the last
// steps fail, when all else is there: the program, and who gets the terminal.
func TestMust1ACreateThatFailsLeavesNothing(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for name, edit := range map[string]func(*specs.Spec){
		"no such program":   program("nonesuch"),
		"nobody listens":    func(*specs.Spec) {},
		"no such directory": func(s *specs.Spec) { program("true")(s); s.Process.Cwd = "/bin/sh" },
	} {
		b := newBundle(t, edit)
		pidFile := filepath.Join(t.TempDir(), "pid")
		args := []string{"create", "--bundle", b.dir, "--pid-file", pidFile, "box"}
		if name == "nobody listens" {
			args = slices.Insert(args, 1, "--console-socket", "/nonesuch")
		}
		if got := b.do(args...); got.status != 1 {
			t.Errorf("%s: status %d", name, got.status)
		}
		if _, err := os.Stat(pidFile); err == nil {
			t.Errorf("%s: there is a pid file of no process", name)
		}
		b.wantNothing()
		b.edit(program("true"), func(s *specs.Spec) { s.Process.Cwd = "/" })
		b.succeed("run", "--bundle", b.dir, "box") // the same id is free again
	}
}

// Point 2: what is edited in the bundle after create has no effect.
func TestMust2EditsAfterCreateHaveNoEffect(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("sh", "-c", "echo before >> /log"))
	b.edit(withHooks("startContainer", b.saying("startContainer", "start-hook")), withHooks("poststop", b.saying("poststop", "poststop")))
	b.succeed("create", "--bundle", b.dir, "box")
	b.edit(program("sh", "-c", "echo after >> /log"), func(s *specs.Spec) { s.Hooks = nil })
	b.succeed("start", "box")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	b.succeed("delete", "box")
	if got := b.said(); !slices.Equal(got, []string{"start-hook", "before", "poststop"}) {
		t.Errorf("got %q", got)
	}
}

// Point 9: what cannot be done in a state is an error, and has no effect.
func TestMust9WhatCannotBeDoneHasNoEffect(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("sh", "-c", "echo ran >> /log; exec sleep 100"))
	fails := func(args ...string) {
		t.Helper()
		if got := b.do(args...); got.status != 1 || got.err == "" {
			t.Errorf("%v: status %d: %s", args, got.status, got.err)
		}
	}
	for _, args := range [][]string{{"start", "none"}, {"start"}, {"state", "none"}, {"state"}, {"kill", "none"}, {"kill"}, {"delete", "none"}, {"delete"}} {
		fails(args...)
	}
	b.succeed("delete", "--force", "none")
	b.succeed("create", "--bundle", b.dir, "box")
	fails("create", "--bundle", b.dir, "box")
	b.succeed("start", "box")
	b.eventually("the program runs", func() bool { return len(b.said()) == 1 })
	fails("start", "box")
	fails("delete", "box")
	if got := b.status("box"); got != specs.StateRunning {
		t.Errorf("it is %q", got)
	}
	b.succeed("kill", "box", "KILL")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	fails("start", "box")
	fails("kill", "box", "KILL")
	if got := b.said(); !slices.Equal(got, []string{"ran"}) {
		t.Errorf("the program ran %d times", len(got))
	}
	b.succeed("delete", "box")
	fails("delete", "box")
	b.wantNothing()
}

// Point 9: of many who start a container at the same moment, one succeeds.
func TestMust9OneStartSucceeds(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, writable, program("sh", "-c", "echo ran >> /log; exec sleep 100"))
	b.succeed("create", "--bundle", b.dir, "box")
	var all []*exec.Cmd
	for range 8 {
		all = append(all, b.startCommand("start", "box"))
	}
	succeeded := 0
	for _, cmd := range all {
		if cmd.Wait() == nil {
			succeeded++
		}
	}
	b.eventually("the program runs", func() bool { return len(b.said()) > 0 })
	if succeeded != 1 || len(b.said()) != 1 {
		t.Errorf("%d succeeded, and it ran %d times", succeeded, len(b.said()))
	}
	b.succeed("delete", "--force", "box")
}

// Point 9: create takes a configuration without a process, start does not.
func TestMust9AConfigurationWithoutAProcess(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, func(s *specs.Spec) { s.Process = nil })
	b.succeed("create", "--bundle", b.dir, "box")
	if got := b.do("start", "box"); got.status != 1 || !strings.Contains(got.err, "its configuration has no process\nhint: ") {
		t.Errorf("status %d: %s", got.status, got.err)
	}
	if got := b.status("box"); got != specs.StateCreated {
		t.Errorf("it is %q", got)
	}
	b.succeed("kill", "box", "KILL")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	b.succeed("delete", "box")
	if got := b.do("run", "--bundle", b.dir, "box"); got.status != 1 || !strings.Contains(got.err, "process is missing") {
		t.Errorf("run: status %d: %s", got.status, got.err)
	}
	b.wantNothing()
}

// Point 10: the state has all that the specification wants, and annotations as
// they were.
func TestMust10TheStateOfAContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	odd := map[string]string{"com.example": "ünï\n<&>\"\\", "empty": ""}
	b := newBundle(t, program("true"), func(s *specs.Spec) { s.Annotations = odd })
	cmd := b.command("create", "--bundle", ".", "box")
	cmd.Dir = b.dir
	if r := b.finish(cmd); r.status != 0 {
		t.Fatal(r.err)
	}
	var state specs.State
	b.must(json.Unmarshal([]byte(b.succeed("state", "box")), &state))
	if state.ID != "box" || state.Status != specs.StateCreated || state.Bundle != b.dir || state.Version != specs.Version ||
		fmt.Sprint(state.Annotations) != fmt.Sprint(odd) {
		t.Errorf("%+v", state)
	}
	if line := b.read(procFile(state.Pid, "cmdline")); !strings.HasSuffix(line, "/skiff-oci init\x00") {
		t.Errorf("process %d is %q", state.Pid, line)
	}
	b.succeed("start", "box")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	b.succeed("delete", "box")
}

// Point 11: an id that is bad fails before anything is done.
func TestMust11ABadIDFailsBeforeAnyEffect(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, writable, program("true"))
	b.edit(withHooks("createRuntime", b.saying("createRuntime", "hook")))
	for _, id := range []string{"", ".", "..", "a/b", "a b", "é", "a\n", strings.Repeat("x", 256), "../box", "/abs"} {
		if got := b.do("create", "--bundle", b.dir, id); got.status != 1 || !strings.Contains(got.err, "id") {
			t.Errorf("%q: status %d: %s", id, got.status, got.err)
		}
	}
	for _, id := range []string{"a.b_c+d-e", "...", "-"} {
		b.succeed("run", "--bundle", b.dir, "--", id)
	}
	if got := b.said(); len(got) != 3 {
		t.Errorf("%d hooks have run, want 3", len(got))
	}
	b.wantNothing()
}

// Point 12: delete removes what create has made, and nothing else: not a cgroup
// that was there before, nor the root.
func TestMust12DeleteRemovesOnlyWhatCreateMade(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"), func(s *specs.Spec) { s.Linux.CgroupsPath = "/skiff-test-kept/box" })
	const kept = "/sys/fs/cgroup/pids/skiff-test-kept"
	if _, err := os.Stat(filepath.Dir(kept)); err != nil {
		testkit.Missing(t, "needs the pids controller in a hierarchy of version 1")
	}
	b.must(os.Mkdir(kept, 0o755))
	t.Cleanup(func() { b.must(os.Remove(kept)) })
	before := b.tree()
	b.succeed("create", "--bundle", b.dir, "box")
	b.succeed("delete", "box")
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("the group above is gone: %v", err)
	}
	if _, err := os.Stat(kept + "/box"); err == nil {
		t.Error("the container's group is still there")
	}
	if after := b.tree(); after != before {
		t.Errorf("the bundle was\n%sand is\n%s", before, after)
	}
	b.wantNothing()
}

// tree lists the bundle, but for the empty folders in its root: create makes mount
// points, as the specification asks.
func (b *bundle) tree() string {
	b.Helper()
	out, err := exec.Command("find", b.dir, "-path", b.path("*"), "-type", "d", "-empty", "-prune", "-o", "-print").Output()
	b.must(err)
	return string(out)
}

// Point 12: what a newer specification adds is ignored.
func TestMust12FieldsOfANewerSpecificationAreIgnored(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("echo", "runs"))
	b.edit(func(s *specs.Spec) { s.Version = "1.99.0" })
	b.replace(`"cwd": "/"`, `"cwd": "/", "aspiration": {"deep": [1, {}]}`)
	b.replace(`"ociVersion"`, `"com.example.unknown": [null], "windows": {"layerFolders": 7}, "ociVersion"`)
	if got := b.succeed("run", "--bundle", b.dir, "box"); got != "runs\n" {
		t.Errorf("got %q", got)
	}
}

// Point 13: the status of run is that of the program, or 1 for a failure of its own.
func TestMust13TheStatusOfRun(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "kill -9 $$; exit 7"))
	if got := b.do("run", "--bundle", b.dir, "box"); got.status != 7 { // process 1 cannot kill itself
		t.Errorf("status %d: %s", got.status, got.err)
	}
	b.edit(program("nonesuch"))
	if got := b.do("run", "--bundle", b.dir, "box"); got.status != 1 {
		t.Errorf("a failure of run: status %d", got.status)
	}
}

// Point 18: oom_score_adj is set to 0 where the configuration says 0, and left
// alone where it says nothing.
func TestMust18AnOOMScoreOfZeroIsAValue(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "choom")
	b := newBundle(t)
	zero := 0
	for want, score := range map[string]*int{"0\n": &zero, "300\n": nil} {
		b.edit(program("cat", "/proc/self/oom_score_adj"), func(s *specs.Spec) { s.Process.OOMScoreAdj = score })
		cmd := b.command("run", "--bundle", b.dir, "box")
		cmd.Args = append([]string{"choom", "-n", "300", "--"}, cmd.Args...)
		cmd.Path = mustFind(b, "choom")
		if got := b.finish(cmd); got.out != want {
			t.Errorf("got %q, want %q: %s", got.out, want, got.err)
		}
	}
}
