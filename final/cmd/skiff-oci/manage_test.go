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
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// What is done to a container that runs: pause, resume, kill, update, delete.

// groupDir is the container's directory in the hierarchy of a v1 controller, or in
// that of v2 ("").
func (b *bundle) groupDir(controller string) string {
	b.Helper()
	var state struct{ CgroupPaths map[string]string }
	b.must(json.Unmarshal([]byte(b.read(filepath.Join(b.state, b.id, "state.json"))), &state))
	if dir, ok := state.CgroupPaths[controller]; ok {
		return dir
	}
	return state.CgroupPaths[""]
}

func TestAPausedContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	var said strings.Builder
	for _, command := range []string{
		"pause box", "create --bundle BUNDLE box", "pause box", "state box", "start box", "resume box", "start box", "resume box", "pause box",
		"state box", "pause box", "exec box true", "delete box", "kill box TERM", "resume box", "pause box", "kill box KILL",
	} {
		r := b.do(strings.Fields(strings.ReplaceAll(command, "BUNDLE", b.dir))...)
		fmt.Fprintf(&said, "$ skiff-oci %s\n%s%s", command, r.out, r.err)
		if r.status != 0 {
			fmt.Fprintf(&said, "(status %d)\n", r.status)
		}
	}
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	for _, command := range []string{"pause", "resume", "exec"} {
		r := b.do(command, "box", "true")
		if command != "exec" {
			r = b.do(command, "box")
		}
		fmt.Fprintf(&said, "$ skiff-oci %s box\n%s(status %d)\n", command, r.err, r.status)
	}
	b.succeed("delete", "box")
	testkit.Golden(t, said.String(), "pause.golden")
	b.wantNothing()
}

// Nothing goes on in a paused container, and everything does afterwards.
func TestPausedProcessesStand(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "echo ready; while read line; do echo got $line; done; exec sleep 1000"))
	in, keys, err := os.Pipe()
	b.must(err)
	defer keys.Close()
	log := filepath.Join(t.TempDir(), "log")
	out, err := os.Create(log)
	b.must(err)
	defer out.Close()
	cmd := b.command("run", "--detach", "--bundle", b.dir, b.id)
	cmd.Stdin, cmd.Stdout = in, out
	b.must(cmd.Run())
	b.must(in.Close())
	b.eventually("it is ready", func() bool { return b.read(log) == "ready\n" })
	b.succeed("pause", b.id)
	_, err = keys.WriteString("word\n")
	b.must(err)
	waiting := b.command("exec", "--ignore-paused", b.id, "true") // waits, as was asked for
	b.must(waiting.Start())
	b.eventually("exec waits in the container", func() bool { return strings.Count(b.succeed("ps", b.id), "\n") >= 3 })
	if got := b.read(log); got != "ready\n" || b.status(b.id) != "paused" {
		t.Errorf("paused, it said %q", got)
	}
	b.succeed("resume", b.id)
	b.eventually("it goes on", func() bool { return b.read(log) == "ready\ngot word\n" })
	b.must(waiting.Wait())
	b.end()
}

// Others freeze as well, in whichever version they find; and what is frozen by v1
// cannot even be killed. Delete ends it all the same.
func TestAContainerThatSomebodyElseHasFrozen(t *testing.T) {
	b := sleeping(t)
	file, frozen := filepath.Join(b.groupDir("freezer"), "freezer.state"), "FROZEN"
	if _, err := os.Stat(file); err != nil {
		file, frozen = filepath.Join(b.groupDir(""), "cgroup.freeze"), "1"
	}
	freeze := func() {
		b.must(os.WriteFile(file, []byte(frozen), 0))
		b.eventually("it stands", func() bool { return b.status(b.id) == "paused" })
	}
	freeze()
	b.succeed("resume", b.id)
	if s := b.status(b.id); s != specs.StateRunning {
		t.Errorf("resumed, it is %s", s)
	}
	freeze()
	b.succeed("kill", b.id, "KILL")
	b.eventually("it has stopped", func() bool { return b.status(b.id) == specs.StateStopped })
	b.succeed("delete", b.id)
	b.launch()
	freeze()
	b.end()
}

func TestKillAllReachesEveryProcess(t *testing.T) {
	b := sleeping(t)
	r := b.start("ready", "exec", b.id, "sh", "-c", "trap 'exit 4' USR1; echo ready; while :; do sleep 0.01; done")
	b.succeed("kill", b.id, "USR1") // the first process alone
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", r.cmd.Process.Pid)); err != nil {
		t.Error("a signal for the first process ended another one")
	}
	b.succeed("kill", "--all", b.id, "SIGUSR1")
	if status, said := r.end(); status != 4 {
		t.Errorf("status %d: %s", status, said)
	}
	b.succeed("kill", "-a", b.id, "9")
	b.eventually("it has stopped", func() bool { return b.status(b.id) == specs.StateStopped })
	b.end()
}

// Without a pid namespace of its own the kernel does not end a container's other
// processes with the first one; kill does, also when that is already gone.
func TestAContainerThatSharesItsPidNamespaceIsEndedWhole(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "sleep 1000 & exec sleep 1000"), func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
	})
	processes := func() (pids []int) {
		b.must(json.Unmarshal([]byte(b.succeed("ps", "-f", "json", b.id)), &pids))
		return pids
	}
	b.launch()
	b.eventually("both run", func() bool { return len(processes()) == 2 })
	b.succeed("kill", b.id, "KILL")
	b.eventually("both have ended", func() bool { return len(processes()) == 0 })
	b.succeed("delete", b.id)

	b.launch()
	b.eventually("both run", func() bool { return len(processes()) == 2 })
	b.must(syscall.Kill(b.pid(b.id), syscall.SIGKILL))
	b.eventually("the first has ended", func() bool { return b.status(b.id) == specs.StateStopped })
	if left := processes(); len(left) != 1 {
		t.Errorf("processes %v, want one", left)
	}
	b.succeed("kill", "--all", b.id, "KILL")
	b.eventually("the other has ended", func() bool { return len(processes()) == 0 })
	b.end()
}

// update changes what it names and nothing else, from flags, a file or its input.
func TestUpdateChangesWhatItNames(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	want := func(controller string, files ...string) {
		t.Helper()
		for i := 0; i < len(files); i += 2 {
			text, err := os.ReadFile(filepath.Join(b.groupDir(controller), files[i]))
			if err != nil {
				continue // of the other version
			}
			if got := strings.TrimSpace(string(text)); got != files[i+1] {
				t.Errorf("%s: %q, want %q", files[i], got, files[i+1])
			}
		}
	}
	b.succeed("update", "--pids-limit", "77", "--memory", "64m", "--cpu-share", "512", "--cpu-period", "50000", "--cpu-quota", "20000", "--cpuset-cpus", "0", b.id)
	all := func(memory string) {
		t.Helper()
		want("pids", "pids.max", "77")
		want("memory", "memory.limit_in_bytes", memory, "memory.max", memory)
		want("cpu", "cpu.shares", "512", "cpu.cfs_period_us", "50000", "cpu.cfs_quota_us", "20000", "cpu.max", "20000 50000")
		want("cpuset", "cpuset.cpus", "0")
	}
	all("67108864")
	file := filepath.Join(t.TempDir(), "resources.json")
	b.must(os.WriteFile(file, []byte(`{"memory": {"limit": 134217728}, "cpu": {"cpus": ""}, "blockIO": {"weight": 0}}`), 0o600))
	b.succeed("update", "--resources", file, b.id)
	all("134217728")
	cmd := b.command("update", "-r", "-", b.id)
	cmd.Stdin = strings.NewReader(`{"pids": {"limit": -1}}`)
	if r := b.finish(cmd); r.status != 0 || r.err != "" {
		t.Error(r.err)
	}
	want("pids", "pids.max", "max")
}

// Sizes are written as people do; what is none is refused before the container is
// looked for.
func TestSizesInEveryForm(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	for text, bytes := range map[string]int64{
		"67108864": 64 << 20, "64m": 64 << 20, "64M": 64 << 20, "64mb": 64 << 20, "64MiB": 64 << 20, "64 MiB": 64 << 20, "67108864b": 64 << 20,
		"65536k": 64 << 20, "1.5g": 3 << 29, "1g": 1 << 30, "1tb": 1 << 40, "0.25t": 1 << 38, "1p": 1 << 50, "1e8": 99999744, "+1e8 B": 99999744,
	} {
		b.succeed("update", "--memory", text, b.id)
		for _, file := range []string{"memory.limit_in_bytes", "memory.max"} {
			got, err := os.ReadFile(filepath.Join(b.groupDir("memory"), file))
			if want := strconv.FormatInt(bytes, 10); err == nil && strings.TrimSpace(string(got)) != want {
				t.Errorf("%q: %s is %s, want %s", text, file, got, want)
			}
		}
	}
	for _, text := range []string{"much", "b", ".", " ", "64mx", "64 m ", "64  m", "1kbb", "5ib", "5bb", "5x", "m", "-2", "-1k", "0x10", "nan", "inf"} {
		r := b.do("update", "--memory", text, "nobody")
		if r.status != 1 || !strings.Contains(r.err, "want bytes, or as in 64k") {
			t.Errorf("%q: status %d: %s", text, r.status, r.err)
		}
	}
}

func TestWhatUpdateSaysWhenItFails(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	file := filepath.Join(t.TempDir(), "resources.json")
	b.must(os.WriteFile(file, []byte(`{"memory": 7}`), 0o600))
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"the group uses more memory than that", []string{"--memory", "4096", b.id}},
		{"cpuset", []string{"--cpuset-cpus", "900", b.id}},
		{"want 10 to 1000", []string{"--blkio-weight", "2000", b.id}},
		{"want bytes, or as in 64k", []string{"--memory", "much", b.id}},
		{"it is what stands in config.json as linux.resources", []string{"--resources", file, b.id}},
		{"no such file", []string{"--resources", "/nowhere", b.id}},
		{"intelRdt: no resctrl file system is mounted", []string{"--l3-cache-schema", "L3:0=f", b.id}},
		{"intelRdt: no resctrl file system is mounted", []string{"--mem-bw-schema", "MB:0=20", b.id}},
		{"does not exist", []string{"--memory", "1", "nobody"}},
		{"want the id of a container", nil},
	} {
		r := b.do(append([]string{"update"}, c.args...)...)
		if r.status != 1 || !strings.Contains(r.err, c.words) {
			t.Errorf("update %v: status %d, no %q in %s", c.args, r.status, c.words, r.err)
		}
		wantOneLine(t, strings.Join(c.args, " "), r.err)
	}
}

// run --detach is create and start: what the program does not live to see is undone.
func TestADetachedRunThatFailsLeavesNothing(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("/bin"))
	if r := b.do("run", "-d", "--bundle", b.dir, b.id); r.status != 1 || !strings.Contains(r.err, "permission denied") {
		t.Errorf("status %d: %s", r.status, r.err)
	}
	b.wantNothing()
	b = newBundle(t)
	if r := b.do("run", "-d", "--bundle", b.dir, b.id); r.status != 1 || !strings.Contains(r.err, "--console-socket") {
		t.Errorf("a terminal for nobody: status %d: %s", r.status, r.err)
	}
	b.wantNothing()
}

func TestRunKeepsTheContainerWhenAsked(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "exit 6"))
	if r := b.do("run", "--keep", "--bundle", b.dir, b.id); r.status != 6 {
		t.Errorf("status %d: %s", r.status, r.err)
	}
	if s := b.status(b.id); s != specs.StateStopped {
		t.Errorf("it is %q", s)
	}
	b.succeed("delete", b.id)
	b.wantNothing()
}

// A program of this machine that holds a container's pid for another is none of
// the container's: kill --all asks the cgroup, not the number.
func TestKillNeedsAContainerThatRuns(t *testing.T) {
	b := sleeping(t)
	other := exec.Command("sleep", "1000")
	time.Sleep(20 * time.Millisecond) // processes are told apart by the clock tick, of 10 ms, in which they began
	b.must(other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	file := filepath.Join(b.state, b.id, "state.json")
	text := b.read(file)
	pid := strconv.Itoa(b.pid(b.id))
	b.must(os.WriteFile(file, []byte(strings.Replace(text, `"pid": `+pid, `"pid": `+strconv.Itoa(other.Process.Pid), 1)), 0o600))
	for _, command := range []string{"kill", "pause"} {
		if r := b.do(command, b.id); r.status != 1 {
			t.Errorf("%s: status %d", command, r.status)
		}
	}
	if r := b.do("exec", b.id, "true"); r.status != 255 || !strings.Contains(r.err, "has stopped") {
		t.Errorf("exec: status %d, %s", r.status, r.err)
	}
	b.must(os.WriteFile(file, []byte(text), 0o600))
	b.end()
}
