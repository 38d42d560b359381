// Package mounttest lets a test mount things that the machine never sees.
//
// A thread of a Go program can leave the mount namespace of the others
// (man 2 unshare, CLONE_NEWNS). What it mounts there goes when it ends, be the
// test passed, failed or panicking.
package mounttest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Private runs f in a mount namespace of its own. f must not start goroutines
// that look at its mounts: they run on other threads. Programs that f starts
// see the mounts.
func Private(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with f
		if unix.Gettid() == unix.Getpid() {
			// The main thread does not end before the process does. It stays
			// locked up here, so that the other goroutine gets another one.
			Private(t, f)
			runtime.UnlockOSThread()
			return
		}
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Errorf("unshare mount namespace: %v", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Errorf("make mounts private: %v", err)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// Mount takes the steps of a mount, inside Private, and returns target.
func Mount(t *testing.T, target string, steps func(p *plan.Plan, target string) error) string {
	t.Helper()
	p := &plan.Plan{}
	if err := steps(p, target); err != nil {
		t.Fatal(err)
	}
	if err := plan.Run(p); err != nil {
		t.Fatal(err)
	}
	return target
}
