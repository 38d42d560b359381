package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// A bundle is what these tests start from: the config.json that `runc spec`
// writes, and busybox as the root file system.
type bundle struct {
	testing.TB
	dir   string
	id    string
	state string // the state folder, for --root
}

// newBundle makes a bundle; each edit changes its configuration.
func newBundle(t testing.TB, edits ...func(*specs.Spec)) *bundle {
	t.Helper()
	testkit.Need(t, "runc", "busybox")
	b := &bundle{TB: t, id: "box", dir: t.TempDir(), state: filepath.Join(t.TempDir(), "state")}
	if out, err := exec.Command("runc", "spec", "--bundle", b.dir).CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v\n%s", err, out)
	}
	t.Cleanup(b.deleteAll)
	busybox, err := exec.LookPath("busybox")
	b.must(err)
	bin := b.path("bin")
	b.must(os.MkdirAll(bin, 0o755))
	b.must(exec.Command("cp", busybox, bin).Run())
	for _, name := range []string{"sh", "cat", "echo", "sleep", "stty", "tty", "true"} {
		b.must(os.Symlink("busybox", filepath.Join(bin, name)))
	}
	if len(edits) > 0 {
		b.edit(edits...)
	}
	return b
}

// program makes a configuration run this, without a terminal.
func program(args ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Args, s.Process.Terminal = args, false }
}

// edit changes config.json.
func (b *bundle) edit(edits ...func(*specs.Spec)) {
	b.Helper()
	file := filepath.Join(b.dir, "config.json")
	text, err := os.ReadFile(file)
	b.must(err)
	var spec specs.Spec
	b.must(json.Unmarshal(text, &spec))
	for _, edit := range edits {
		edit(&spec)
	}
	text, err = json.MarshalIndent(spec, "", "\t")
	b.must(err)
	b.must(os.WriteFile(file, text, 0o644))
}

// path is that of a file in the root file system.
func (b *bundle) path(name string) string { return filepath.Join(b.dir, "rootfs", name) }

func (b *bundle) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// command is skiff-oci with the state folder of this test.
func (b *bundle) command(args ...string) *exec.Cmd {
	b.Helper()
	return exec.Command(testkit.Build(b, "skiff.example/final/cmd/skiff-oci"), append([]string{"--root", b.state}, args...)...)
}

// A result is how a command ended, and what it said.
type result struct {
	status   int
	out, err string
}

// finish runs a command to its end. Its output goes into files, not pipes: a
// created container holds them, and would keep a pipe open.
func (b *bundle) finish(cmd *exec.Cmd) result {
	b.Helper()
	dir := b.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	b.must(err)
	defer out.Close()
	warnings, err := os.Create(filepath.Join(dir, "err"))
	b.must(err)
	defer warnings.Close()
	cmd.Stdout, cmd.Stderr = out, warnings
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), b.read(out.Name()), b.read(warnings.Name())}
}

// do runs skiff-oci with these arguments to its end.
func (b *bundle) do(args ...string) result {
	b.Helper()
	return b.finish(b.command(args...))
}

// succeed is do for what must not fail, nor warn.
func (b *bundle) succeed(args ...string) (out string) {
	b.Helper()
	r := b.do(args...)
	if r.status != 0 || r.err != "" {
		b.Fatalf("skiff-oci %s: status %d\n%s", strings.Join(args, " "), r.status, r.err)
	}
	return r.out
}

func (b *bundle) read(file string) string {
	b.Helper()
	text, err := os.ReadFile(file)
	b.must(err)
	return string(text)
}

// start starts a command whose end the test does not wait for, but for a line
// that the container prints.
func (b *bundle) start(until string, args ...string) *running {
	b.Helper()
	r := &running{bundle: b, cmd: b.command(args...), log: filepath.Join(b.TempDir(), "log")}
	out, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	b.must(err)
	defer out.Close()
	r.cmd.Stdout, r.cmd.Stderr = out, out
	b.must(r.cmd.Start())
	b.Cleanup(func() { // without a status the test has failed on its way
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
	})
	b.eventually("the container says "+until, func() bool { return strings.Contains(b.read(r.log), until) })
	return r
}

// A running command of skiff-oci.
type running struct {
	*bundle
	cmd *exec.Cmd
	log string
}

func (r *running) signal(s syscall.Signal) {
	r.Helper()
	r.must(r.cmd.Process.Signal(s))
}

// end waits for the command's end, and returns its status and what it said.
func (r *running) end() (status int, said string) {
	_ = r.cmd.Wait() // the status says it
	return r.cmd.ProcessState.ExitCode(), r.read(r.log)
}

// eventually waits until something is so, for a minute: where more wants to run than
// there are processors, a process may wait for one for many seconds, and say so in
// /proc/PID/schedstat (scheduler/sched-stats.rst of the kernel).
func (b *bundle) eventually(what string, is func() bool) {
	b.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("waited in vain: %s", what)
		}
	}
}

// status is the status of a container, as `state` prints it.
func (b *bundle) status(id string) specs.ContainerState {
	b.Helper()
	r := b.do("state", id)
	var state specs.State
	if r.status != 0 || json.NewDecoder(bytes.NewBufferString(r.out)).Decode(&state) != nil {
		return ""
	}
	return state.Status
}

// deleteAll ends what a test that has failed has left running.
func (b *bundle) deleteAll() {
	entries, _ := os.ReadDir(b.state) // there may be none
	for _, e := range entries {
		b.do("delete", "--force", e.Name())
	}
}

// wantNothing asserts that no container is left in the state folder.
func (b *bundle) wantNothing() {
	b.Helper()
	entries, err := os.ReadDir(b.state)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Error(err)
	}
	for _, e := range entries {
		b.Errorf("left in the state folder: %s", e.Name())
	}
}
