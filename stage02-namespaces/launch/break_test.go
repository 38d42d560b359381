package launch_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// Whichever step of a whole container fails, the error names it, the child is
// gone, and nothing of it is left: not here, and not on the host.
func TestAnyStepMayFail(t *testing.T) {
	testkit.HostUnchanged(t)
	root, null := fullRoot(t), openNull(t)
	steps := fullPlan(t, root, newGate(t), null).Len()
	before := openDescriptors(t)
	for k := range steps {
		failAt(t, root, null, k)
		noChildren(t)
		if now := openDescriptors(t); now != before {
			t.Fatalf("step %d: %d descriptors are open, before it were %d", k+1, now, before)
		}
	}
}

// failAt runs the full plan with step number k broken.
func failAt(t *testing.T, root string, null *os.File, k int) {
	t.Helper()
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	p := fullPlan(t, root, gate, null)
	process, err := launch.Start(p.Break(k), launch.Options{Namespaces: fullNamespaces})
	if err != nil {
		t.Fatal(err)
	}
	if err := gate.Open(); err != nil {
		t.Error(err)
	}
	err = process.Started()
	var failed *plan.Error
	switch {
	case !errors.As(err, &failed):
		t.Errorf("step %d is broken, but the error is %v", k+1, err)
	case failed.Index != k || failed.Errno != unix.ENOSYS || failed.Step.What() != p.Doing(k):
		t.Errorf("step %d (%s) is broken, but the error is %v", k+1, p.Doing(k), err)
	}
	if status, _ := process.Wait(); status.ExitStatus() != 127 {
		t.Errorf("step %d: the child ended with %v", k+1, status)
	}
	if err := errors.Join(process.Close(), gate.Close()); err != nil {
		t.Error(err)
	}
}

// noChildren makes sure that there is nobody to wait for, dead or alive.
func noChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Fatalf("there is a child: pid %d, error %v", pid, err)
	}
}

// openDescriptors is how many this process has, the one that lists them
// included.
func openDescriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
