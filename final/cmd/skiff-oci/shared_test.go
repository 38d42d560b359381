package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// Two containers with one cgroupsPath, and two commands for one container: what
// belongs to the one does not end with the other.

// inGroup puts a container into this group of every hierarchy.
func inGroup(path string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.CgroupsPath = path }
}

// Whoever has made a group removes it with all that is in it, so nobody else gets it
// before that, also when it is empty.
func TestAGroupBelongsToTheContainerThatHasMadeIt(t *testing.T) {
	b := sleeping(t, inGroup("/skiff-test-shared/one"))
	create := func(want string) {
		t.Helper()
		r := b.do("create", "--bundle", b.dir, "other")
		if r.status != 1 || !strings.Contains(r.err, want) {
			t.Errorf("create: status %d, no %q in %s", r.status, want, r.err)
		}
	}
	create(`container "box" has made it`)
	b.must(syscall.Kill(b.pid(b.id), syscall.SIGKILL))
	b.eventually("it has stopped", func() bool { return b.status(b.id) == specs.StateStopped })
	create(`container "box" has made it`)
	b.succeed("delete", b.id)
	b.succeed("run", "--detach", "--bundle", b.dir, "other")
	b.succeed("delete", "--force", "other")
	b.wantNothing()
}

// A group that an engine has made is nobody's: containers have it one after the other.
// What is done to the one that has stopped does not reach the next.
func TestAContainerThatHasStoppedDoesNotEndTheNextOneInItsGroup(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	group, err := hierarchies.New("/skiff-test-engines")
	if err != nil {
		t.Fatal(err)
	}
	b := newBundle(t, program("sleep", "1000"), inGroup("/skiff-test-engines"))
	b.must(group.Create(nil))
	t.Cleanup(func() { b.must(group.Delete()) })
	b.launch()
	b.must(syscall.Kill(b.pid(b.id), syscall.SIGKILL))
	b.eventually("it has stopped", func() bool { return b.status(b.id) == specs.StateStopped })
	b.succeed("run", "--detach", "--bundle", b.dir, "next")
	for _, args := range [][]string{{"kill", "--all", b.id, "KILL"}, {"kill", "--all", b.id, "TERM"}, {"delete", "--force", b.id}} {
		b.succeed(args...)
		b.succeed("exec", "next", "true")
		if status := b.status("next"); status != specs.StateRunning {
			t.Fatalf("%q: the other container is %s", args, status)
		}
	}
	b.succeed("kill", "--all", "next", "KILL") // its own are reached
	b.eventually("it has stopped", func() bool { return b.status("next") == specs.StateStopped })
	b.succeed("delete", "next")
	b.wantNothing()
}

// A delete that comes while there is nothing but the folder waits for the container,
// and ends it with all that belongs to its end.
func TestDeleteDuringCreate(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, "strace")
	mark := filepath.Join(t.TempDir(), "mark")
	b := newBundle(t, program("true"), withHooks("createRuntime", shell(`echo created >> "$0"`, mark)), withHooks("poststop", shell(`echo stopped >> "$0"`, mark)))
	created := make(chan error)
	go func() {
		// The process is cloned later than delete can have come.
		created <- b.strace([]string{"create", "--bundle", b.dir, b.id}, "-e", "trace=clone3", "-e", "inject=clone3:delay_enter=600000")
	}()
	b.eventually("create has begun", func() bool {
		held, err := unix.Open(filepath.Join(b.state, b.id), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		defer unix.Close(held)
		return unix.Flock(held, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
	})
	if _, err := os.Stat(filepath.Join(b.state, b.id, "state.json")); err == nil {
		t.Fatal("it has a state already")
	}
	b.succeed("delete", "--force", b.id)
	if err := <-created; err != nil {
		t.Errorf("create: %v", err)
	}
	b.wantNothing()
	if text := b.read(mark); text != "created\nstopped\n" {
		t.Errorf("the hooks say %q", text)
	}
}
