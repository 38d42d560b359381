package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// checkpoint and restore. criu(8) cannot do it on every kernel: Debian's 3.17 can on
// that of the virtual machine of course/vm, where these tests run as well.

// counting is a container that counts in memory, says how far it is in a file of the
// host's, and has of the host's two read-only views of one file, and hooks.
func counting(t *testing.T, out string) *bundle {
	b := newBundle(t, program("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /out/count; busybox usleep 50000; done"))
	file := filepath.Join(out, "file")
	b.must(os.WriteFile(file, []byte("the host's\n"), 0o644))
	hook := func(kind string) func(*specs.Spec) {
		return withHooks(kind, shell(`echo "$0" >> "$1"`, kind, filepath.Join(out, "hooks")))
	}
	b.edit(hook("createRuntime"), hook("poststart"), hook("poststop"), func(s *specs.Spec) {
		// Of a network namespace criu 3.17 cannot read all on this kernel, called by runc neither.
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.NetworkNamespace })
		for _, m := range []specs.Mount{{Destination: "/out", Source: out}, {Destination: "/one", Source: file}, {Destination: "/two", Source: file}} {
			m.Type, m.Options = "bind", []string{"bind"}
			if m.Source == file {
				m.Options = append(m.Options, "ro")
			}
			s.Mounts = append(s.Mounts, m)
		}
	})
	return b
}

func TestCheckpointAndRestore(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "criu")
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		t.Skipf("criu cannot work on this kernel: %s", out)
	}
	out, images := t.TempDir(), t.TempDir()
	b := counting(t, out)
	count := func() int {
		n, _ := strconv.Atoi(strings.TrimSpace(b.read(filepath.Join(out, "count")))) // it may just be written
		return n
	}
	b.launch()
	b.eventually("it counts", func() bool { return count() > 3 })

	image := func(name string) string { return filepath.Join(images, name) }
	b.succeed("checkpoint", "--leave-running", "--image-path", image("running"), b.id)
	before := count()
	b.eventually("it goes on", func() bool { return count() > before })
	b.succeed("checkpoint", "--pre-dump", "--image-path", image("memory"), b.id)
	b.succeed("checkpoint", "--parent-path", "../memory", "--image-path", image("rest"), "--work-path", image("work"), b.id)
	b.wantNothing()
	before = count()

	pidFile := filepath.Join(out, "pid")
	cmd := b.command("restore", "--image-path", image("rest"), "--bundle", b.dir, "--pid-file", pidFile, "other")
	said, err := os.Create(filepath.Join(images, "said"))
	b.must(err)
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	b.must(cmd.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.read(said.Name()))
		}
	})
	b.eventually("it goes on where it was", func() bool { return count() > before })
	if now := count(); now > before+100 {
		t.Errorf("it was at %d, and is at %d", before, now)
	}
	if b.status("other") != specs.StateRunning || b.read(pidFile) != strconv.Itoa(b.pid("other")) {
		t.Errorf("it is %s, its pid %d, the pid file says %s", b.status("other"), b.pid("other"), b.read(pidFile))
	}
	const look = `for f in /one /two /proc/keys; do cat $f; (: > $f) 2>&1 | busybox grep -o Read-only; busybox chmod 600 $f 2>&1 | busybox grep -o Read-only; done`
	want := strings.Repeat("the host's\nRead-only\nRead-only\n", 2) + "Read-only\n" // writing to /dev/null is allowed
	if said := b.do("exec", "other", "sh", "-c", look).out; said != want {
		t.Errorf("it has\n%s", said)
	}
	b.succeed("kill", "other", "KILL")
	if err = cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGKILL) {
		t.Errorf("restore: %v", err)
	}
	b.wantNothing()
	if hooks := b.read(filepath.Join(out, "hooks")); hooks != strings.Repeat("createRuntime\npoststart\npoststop\n", 2) {
		t.Errorf("the hooks say\n%s", hooks)
	}
}

func TestWhatCheckpointAndRestoreSay(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	images := t.TempDir()
	created := newBundle(t, program("true"))
	created.state = b.state
	b.succeed("create", "--bundle", created.dir, "created")
	defer b.succeed("delete", "created")
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"install it, in Debian the package criu", []string{"--criu", "/nowhere/criu", "checkpoint", "--image-path", images, b.id}},
		{`checkpoint container "created": it is created`, []string{"checkpoint", "--image-path", images, "created"}},
		{`container "nobody": does not exist`, []string{"checkpoint", "--image-path", images, "nobody"}},
		{"--lazy-pages: not supported", []string{"checkpoint", "--lazy-pages", b.id}},
		{"--page-server: not supported", []string{"checkpoint", "--page-server", "127.0.0.1:1", b.id}},
		{"--status-fd: not supported", []string{"checkpoint", "--status-fd", "1", b.id}},
		{`--manage-cgroups-mode "some": want soft`, []string{"checkpoint", "--manage-cgroups-mode", "some", b.id}},
		{`--empty-ns "pid": want network`, []string{"checkpoint", "--empty-ns", "pid", b.id}},
		{"--parent-path is seen from --image-path", []string{"checkpoint", "--parent-path", images, b.id}},
		{"read the checkpoint: open", []string{"restore", "--image-path", t.TempDir(), "--bundle", b.dir, "other"}},
		{"the id is already in use", []string{"restore", "--image-path", images, "--bundle", b.dir, b.id}},
	} {
		r := b.do(c.args...)
		if r.status != 1 || !strings.Contains(r.err, c.words) {
			t.Errorf("%q: status %d, no %q in %s", c.args, r.status, c.words, r.err)
		}
	}
	b.edit(func(s *specs.Spec) { s.Process.Terminal = true })
	if r := b.do("restore", "--image-path", images, "--bundle", b.dir, "other"); !strings.Contains(r.err, "it has a terminal") {
		t.Error(r.err)
	}
	if exec.Command("criu", "check").Run() != nil { // and what it says is passed on
		r := b.do("checkpoint", "--image-path", images, b.id)
		if r.status != 1 || !strings.Contains(r.err, "criu dump: exit status 1: ") || !strings.Contains(r.err, images+"/dump.log") {
			t.Errorf("status %d: %s", r.status, r.err)
		}
	}
}
