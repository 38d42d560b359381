package testkit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit/hoststate"
)

// The host before a test and after it. What is compared, and from where in the
// kernel it is read, is in package hoststate.

// settle is how long the kernel may take to clean up after a test: network
// namespaces are taken down one after another by one worker.
const settle = 3 * time.Second

// Snapshot takes a picture of the host; State.Diff tells two apart.
func Snapshot() (hoststate.State, error) { return hoststate.Take() }

// HostUnchanged says that a test needs root and leaves the host as it was:
// mounts, control groups, namespaces, links, addresses, routes, packet filter
// rules, processes (dead ones too), descriptors, state folders. What is left
// behind when the test and its other clean-ups have ended fails the test, one
// line a thing.
//
// Call it first, so that the comparison comes last, and not in tests that run
// in parallel: each would see what the others make.
//
// From here on the process adopts orphans: a process that the test's
// containers leave behind becomes its child and is seen. The test must wait
// for those that it means to leave (or see HostUnchangedAsInit).
func HostUnchanged(t testing.TB) {
	t.Helper()
	hostUnchanged(t, func() error { return nil })
}

// HostUnchangedAsInit is HostUnchanged for the test of a program that leaves
// processes to pid 1: `skiff run --detach`, `skiff-oci create`. On a real host
// init waits for them when they end; here, at the end of the test, it is done
// by this function. Children of the test itself that it has not waited for go
// unnoticed that way, so a test that starts containers in its own process uses
// HostUnchanged.
func HostUnchangedAsInit(t testing.TB) {
	t.Helper()
	hostUnchanged(t, waitForZombies)
}

func hostUnchanged(t testing.TB, beforeEachLook func() error) {
	t.Helper()
	Root(t)
	if _, err := programs(); err != nil { // before orphans are adopted: see removeAtExit
		t.Fatal(err)
	}
	if err := hoststate.AdoptOrphans(); err != nil {
		t.Fatal(err)
	}
	before, err := hoststate.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Helper()
		diff, err := before.Settle(settle, beforeEachLook)
		if err != nil {
			t.Fatal(err)
		}
		if len(diff) > 0 {
			t.Errorf("the host is not as it was before the test:\n\t%s", strings.Join(diff, "\n\t"))
		}
	})
}

// waitForZombies waits for every dead child of this process.
func waitForZombies() error {
	pids, err := hoststate.Zombies()
	for _, pid := range pids {
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return fmt.Errorf("wait for zombie %d: %w", pid, err)
		}
	}
	return err
}
