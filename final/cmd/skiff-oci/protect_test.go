package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// CVE-2019-5736: a process that shares the pid namespace keeps a descriptor of
// our binary, through a container that has not executed its program yet; when
// nobody runs the binary any more, it opens that descriptor for writing.
func TestOurBinaryCannotBeOverwrittenThroughAContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"), func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
			return n.Type == specs.PIDNamespace
		})
	})
	ours := b.read(b.command().Path)
	b.succeed("create", "--bundle", b.dir, "victim")
	var state specs.State
	b.must(json.Unmarshal([]byte(b.succeed("state", "victim")), &state))
	exe, err := os.Open(fmt.Sprintf("/proc/%d/exe", state.Pid))
	b.must(err)
	defer exe.Close()
	b.succeed("delete", "--force", "victim")
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), []byte("evil"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to what it ran: %v, want %v", err, unix.EPERM)
	}
	if got := b.read(b.command().Path); got != ours {
		t.Error("our binary was overwritten")
	}
}

// While a run is attended, a delete by force waits for it and succeeds.
func TestForceDeletesWhatARunAttends(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", "echo here; exec sleep 1000"))
	run := b.start("here", "run", "--bundle", b.dir, "box")
	b.succeed("delete", "--force", "box")
	if status, said := run.end(); status != 137 {
		t.Errorf("run ended with %d: %s", status, said)
	}
	b.wantNothing()
}

// What covers a masked file is the host's /dev/null: nobody in the container
// may change its mode, owner or times, and everybody may still write to it.
func TestTheCoverOfAMaskedFileCannotBeChanged(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c",
		"for c in 'chmod 600' 'chown 1:1' touch; do $c /proc/keys && echo $c succeeded; done; echo x > /proc/keys && cat /proc/keys; echo end"))
	r := b.do("run", "--bundle", b.dir, "box")
	if r.status != 0 || r.out != "end\n" {
		t.Errorf("status %d, output %q, errors %q", r.status, r.out, r.err)
	}
}
