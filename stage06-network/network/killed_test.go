// kill -9 at every moment. A runtime attaches a container, or detaches it, and
// is killed as it makes its k-th system call that changes anything, for every
// k. One more process undoes the container's journal; then the host is as it
// was, and a neighbour on the same network has noticed nothing. It is strace(1)
// that kills: our code has no hooks for tests.

package network_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage01-chroot/testkit/hoststate"
	"skiff.example/stage06-network/network"
)

// changes are the calls by which anything is changed: files, settings, netlink
// messages (sendto: links, addresses, routes; sendmsg: nftables), and the way
// into the container's namespace and back.
var changes = []string{"mkdirat", "write", "renameat", "unlinkat", "sendto", "sendmsg", "setns"}

// victim is the container of the runtime that is killed.
type victim struct {
	*host
	journal, netns string
}

func (v victim) command(role string) []string {
	return []string{os.Args[0], role, v.stateDir, v.journal, v.netns}
}

// moment is when to kill: as a thread enters its k-th such call.
type moment struct {
	call string
	k    int
}

// runKilledAt runs a role, kills it at a moment, and says whether it lived
// long enough for that.
func (v victim) runKilledAt(role string, m moment) bool {
	v.Helper()
	strace := append([]string{
		"-f", "-qq", "-o", filepath.Join(v.TempDir(), "trace"), "-e", "trace=" + m.call,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", m.call, m.k),
	}, v.command(role)...)
	out, err := exec.Command("strace", strace...).CombinedOutput()
	if err == nil {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		v.Fatalf("%s, to be killed at %+v: %v: %s", role, m, err, out)
	}
	return true
}

// run runs a role to its end.
func (v victim) run(role string) {
	v.Helper()
	if out, err := exec.Command(v.command(role)[0], v.command(role)[1:]...).CombinedOutput(); err != nil {
		v.Fatalf("%s: %v: %s", role, err, out)
	}
}

// atEveryCall runs a round for every call that changes something, until none is
// left to kill at.
func (h *host) atEveryCall(round func(v victim, m moment) (killed bool)) {
	h.Helper()
	testkit.Need(h, "strace")
	before, err := testkit.Snapshot()
	if err != nil {
		h.Fatal(err)
	}
	v := victim{h, filepath.Join(h.TempDir(), "journal"), h.namespace().Path()}
	rounds := 0
	for _, call := range changes {
		for m := (moment{call, 1}); round(v, m); m.k++ {
			h.assertAsBefore(before, m)
			rounds++
		}
	}
	if rounds < 10 {
		h.Errorf("killed only %d times", rounds)
	}
	h.Logf("killed %d times", rounds)
}

// assertAsBefore asserts that the host is as it was, save for the victim's
// network namespace, which belongs to the test.
func (h *host) assertAsBefore(before hoststate.State, m moment) {
	h.Helper()
	after, err := testkit.Snapshot()
	if err != nil {
		h.Fatal(err)
	}
	for _, line := range before.Diff(after) {
		if !strings.Contains(line, "net:[") {
			h.Fatalf("killed at %+v: %s", m, line)
		}
	}
}

func TestKilledWhileAttachingTheFirst(t *testing.T) {
	newHost(t).atEveryCall(func(v victim, m moment) bool {
		killed := v.runKilledAt("attach", m)
		v.run("undo")
		v.assertGone()
		return killed
	})
}

func TestKilledWhileDetachingTheLast(t *testing.T) {
	newHost(t).atEveryCall(func(v victim, m moment) bool {
		v.run("attach")
		killed := v.runKilledAt("undo", m)
		v.run("undo")
		v.assertGone()
		return killed
	})
}

func TestKilledBesideANeighbour(t *testing.T) {
	h := newHost(t)
	neighbour := h.attach("neighbour")
	leases := h.sh("cat " + h.stateDir + "/leases.json")
	h.atEveryCall(func(v victim, m moment) bool {
		killed := v.runKilledAt("attach", m)
		v.run("undo")
		if err := neighbour.ping(neighbour.Gateway); err != nil {
			t.Fatalf("killed at %+v: %v", m, err)
		}
		if got := h.sh("cat " + h.stateDir + "/leases.json"); got != leases {
			t.Fatalf("killed at %+v: the leases are %s", m, got)
		}
		return killed
	})
}

// assertGone asserts that no file is left.
func (v victim) assertGone() {
	v.Helper()
	if _, err := os.Lstat(v.stateDir); !os.IsNotExist(err) {
		v.Fatalf("the state folder is still there: %v\n%s", err, v.sh("ls -la "+v.stateDir))
	}
}

func TestUndoingTwiceIsFine(t *testing.T) {
	h := newHost(t)
	h.attach("web")
	for range 2 {
		if err := network.Undo([]string{h.stateDir, "web"}); err != nil {
			t.Error(err)
		}
		if err := h.network.Detach("web"); err != nil {
			t.Error(err)
		}
	}
}

func TestUndoingWhatNeverWasIsFine(t *testing.T) {
	h := newHost(t)
	if err := network.Undo([]string{h.stateDir, "web"}); err != nil {
		t.Error(err)
	}
	c := h.attach("web")
	if err := network.Undo([]string{h.stateDir, "another"}); err != nil {
		t.Error(err)
	}
	if err := c.ping(c.Gateway); err != nil {
		t.Error(err)
	}
}

func TestForwardingThatWasOnStaysOn(t *testing.T) {
	h := newHost(t)
	h.sh("echo 1 >/proc/sys/net/ipv4/ip_forward")
	defer h.sh("echo 0 >/proc/sys/net/ipv4/ip_forward")
	h.attach("web")
	if err := h.network.Detach("web"); err != nil {
		t.Fatal(err)
	}
	if got := h.sh("cat /proc/sys/net/ipv4/ip_forward"); got != "1" {
		t.Errorf("ip_forward is %s", got)
	}
}
