package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// The life cycle of runtime-spec runtime.md: creating, created, running,
// stopped; and the transcript of it.
func TestTheLifeOfAContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "trap 'exit 5' TERM; echo runs > /tmp/sign; while :; do sleep 0.01; done"), writable)
	b.must(os.Mkdir(b.path("tmp"), 0o755))
	pidFile := filepath.Join(t.TempDir(), "pid")
	var said strings.Builder
	do := func(args ...string) {
		r := b.do(args...)
		fmt.Fprintf(&said, "$ skiff-oci %s\n%s%s", strings.Join(args, " "), r.out, r.err)
		if r.status != 0 {
			fmt.Fprintf(&said, "(status %d)\n", r.status)
		}
	}
	do("create", "--bundle", b.dir, "--pid-file", pidFile, "box")
	if pid := b.read(pidFile); !strings.Contains(b.do("state", "box").out, `"pid": `+pid+",") {
		t.Errorf("the pid file says %q, state %s", pid, b.do("state", "box").out)
	}
	do("state", "box")
	do("create", "--bundle", b.dir, "box")
	if _, err := os.Stat(b.path("tmp/sign")); err == nil {
		t.Error("the program runs before start")
	}
	do("start", "box")
	b.eventually("the program runs", func() bool { _, err := os.Stat(b.path("tmp/sign")); return err == nil })
	do("state", "box")
	do("start", "box")
	do("delete", "box")
	do("kill", "box", "NONSENSE")
	do("kill", "box", "TERM")
	b.eventually("it has stopped", func() bool { return b.status("box") == specs.StateStopped })
	do("state", "box")
	do("kill", "box")
	do("start", "box")
	do("delete", "box")
	do("state", "box")
	do("delete", "box")
	do("delete", "--force", "box")
	testkit.Golden(t, said.String(), "life.golden")
	b.wantNothing()
}

// writable makes the root writable.
func writable(s *specs.Spec) { s.Root.Readonly = false }

func TestACreatedContainerCanBeDeleted(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	b.succeed("create", "--bundle", b.dir, "box")
	b.succeed("delete", "box")
	b.wantNothing()
}

func TestForceDeletesARunningContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	b.succeed("create", "--bundle", b.dir, "box")
	b.succeed("start", "box")
	b.succeed("delete", "-f", "box")
	b.wantNothing()
}

// A killed run can unmake nothing itself; the journal knows what there is.
func TestDeleteUnmakesWhatAKilledRunHasLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "echo ready; exec sleep 1000"))
	r := b.start("ready", "run", "--bundle", b.dir, "box")
	r.signal(syscall.SIGKILL)
	r.end()
	if entries, err := os.ReadDir(b.state); err != nil || len(entries) != 1 {
		t.Errorf("nothing to unmake: %v, %v", entries, err)
	}
	b.succeed("delete", "-f", "box")
	b.wantNothing()
	if got := b.do("state", "box"); got.status != 1 {
		t.Errorf("it is still there: %s", got.out)
	}
}
