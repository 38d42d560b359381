package launch_test

import (
	"errors"
	"testing"
	"time"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// A child is a copy of its parent, and so gets what the parent has open for
// another child that is born at the same moment: that must not be the pipe
// that tells when the other has started.
func TestAChildThatWaitsDoesNotHoldUpAnother(t *testing.T) {
	const rounds = 300
	for range rounds {
		gate, err := launch.NewGate()
		if err != nil {
			t.Fatal(err)
		}
		born := make(chan *launch.Process)
		go func() {
			waits, err := launch.Start(exits(0, gate.Steps()...), launch.Options{})
			if err != nil {
				t.Error(err)
			}
			born <- waits
		}()
		startInTime(t)
		waits := <-born
		if waits == nil {
			t.FailNow()
		}
		if err := errors.Join(gate.Open(), waits.Started(), waits.Kill(), waits.Close(), gate.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// startInTime starts a child that waits for nobody.
func startInTime(t *testing.T) {
	t.Helper()
	process, err := launch.Start(exits(0, plan.Umask(0o22)), launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() {
		panic("a child that waits for nobody has not started in 20 s")
	})
	if _, err := process.Wait(); err != nil {
		t.Error(err)
	}
	if err := process.Started(); err != nil {
		t.Error(err)
	}
	late.Stop()
	if err := process.Close(); err != nil {
		t.Error(err)
	}
}
