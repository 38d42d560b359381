// What the tests of this package share. They use the kernel's own hierarchies,
// below /skiff-test-… at their roots, and read back with the shell's tools
// what our code wrote.
//
// A hybrid machine has all that is needed to test three kinds: its v1
// hierarchies alone are a legacy machine, its v2 hierarchy alone a unified one
// (with the files of the core and few controllers).

package cgroup_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage03-cgroups/cgroup"
)

// detect finds the hierarchies of this machine, or fails the test.
func detect(t testing.TB) *cgroup.Hierarchies {
	t.Helper()
	h, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// legacy is the v1 half of this machine.
func legacy(t testing.TB) *cgroup.Hierarchies {
	t.Helper()
	h := detect(t)
	if len(h.V1) == 0 {
		t.Skip("needs cgroup v1 hierarchies: this machine is unified")
	}
	return &cgroup.Hierarchies{V1: h.V1}
}

// unified is the v2 half of this machine. What a group's creation enables in
// the root group is disabled again after the test.
func unified(t testing.TB) *cgroup.Hierarchies {
	t.Helper()
	h := detect(t)
	if h.V2 == nil {
		t.Skip("needs a cgroup v2 hierarchy: this machine is legacy")
	}
	control := h.V2.MountPoint + "/cgroup.subtree_control"
	before := strings.Fields(run(t, "cat "+control))
	t.Cleanup(func() {
		for _, name := range strings.Fields(run(t, "cat "+control)) {
			if !slices.Contains(before, name) {
				run(t, "echo -"+name+" > "+control)
			}
		}
	})
	return &cgroup.Hierarchies{V2: h.V2}
}

// create makes the group /skiff-test-NAME, and removes it after the test.
func create(t testing.TB, h *cgroup.Hierarchies, name string) *cgroup.Manager {
	t.Helper()
	m := manager(t, h, "/skiff-test-"+name)
	t.Cleanup(func() {
		if err := m.Delete(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	return m
}

// manager returns the manager of path, or fails the test.
func manager(t testing.TB, h *cgroup.Hierarchies, path string) *cgroup.Manager {
	t.Helper()
	m, err := h.New(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a shell script of the host and returns what it prints.
func run(t testing.TB, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v: %s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// dir is where the files of a controller are: in its v1 hierarchy, or in v2.
func dir(m *cgroup.Manager, controller string) string {
	if dir, ok := m.Paths()[controller]; ok {
		return dir
	}
	return m.Paths()[""]
}

// want checks what a control file of the group says, as cat shows it.
func want(t testing.TB, m *cgroup.Manager, controller, file, value string) {
	t.Helper()
	if got := run(t, "cat "+filepath.Join(dir(m, controller), file)); got != value {
		t.Errorf("%s: %q, want %q", file, got, value)
	}
}

// inside is a shell script that runs in the group.
type inside struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts script in the group of m: its shell waits until it was moved.
func start(t testing.TB, m *cgroup.Manager, script string) *inside {
	t.Helper()
	p := &inside{t: t, cmd: exec.Command("sh", "-c", "read go\n"+script)}
	var err error
	p.in, err = p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.out = bufio.NewReader(out)
	p.cmd.Stderr = p.cmd.Stdout
	must(t, p.cmd.Start())
	t.Cleanup(func() { // all of this is harmless when it has ended
		m.Kill() // thaws as well: a test that failed may have left it frozen
		p.cmd.Process.Kill()
		p.in.Close()
		io.Copy(io.Discard, p.out)
		p.cmd.Wait()
	})
	must(t, m.Add(p.cmd.Process.Pid))
	p.say("go")
	return p
}

// say sends a line to the script.
func (p *inside) say(line string) { fmt.Fprintln(p.in, line) }

// line returns the next line the script prints.
func (p *inside) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the script said nothing more: %v (%q)", err, line)
	}
	return strings.TrimSpace(line)
}

// rest returns all that the script prints until it ends.
func (p *inside) rest() string {
	p.t.Helper()
	out, err := io.ReadAll(p.out)
	must(p.t, err)
	return strings.TrimSpace(string(out))
}

// eventually polls until what holds, for at most five seconds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within five seconds: %s", what)
		}
	}
}

// state is the state of a process as ps shows it: S, R, D, T, Z, or "" when it
// is gone.
func state(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, after, ok := strings.Cut(string(stat), ") "); ok {
		return after[:1]
	}
	return ""
}

// gone checks that no hierarchy has the group any more.
func gone(t testing.TB, m *cgroup.Manager) {
	t.Helper()
	for _, dir := range m.Paths() {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there (%v)", dir, err)
		}
	}
}

func p[T any](v T) *T { return &v }

// resources that restrict memory and pids a little.
func someLimits() *specs.LinuxResources {
	return &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: p[int64](64 << 20)},
		Pids:   &specs.LinuxPids{Limit: p[int64](50)},
	}
}
