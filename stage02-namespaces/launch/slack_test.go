package launch_test

import (
	"io"
	"os"
	"runtime"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage02-namespaces/launch"
)

// A child's timers are as late as those of the thread that clones it, and that is not
// any thread's if a program says so.
func TestTimerSlackOfAChild(t *testing.T) {
	runtime.LockOSThread() // for good: its timer slack is changed
	machine.TimerSlack = 123_456
	t.Cleanup(func() { machine.TimerSlack = 0 })
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &plan.Plan{}
	p.Add(plan.Dup3(plan.Descriptor{Number: int(in.Fd()), Name: "output"}, 1), plan.SetSignalMask(0), plan.Execve("/bin/cat", []string{"cat", "/proc/self/timerslack_ns"}, nil))
	process := start(t, p, launch.Options{})
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(out); string(said) != "123456\n" || err != nil {
		t.Errorf("the child says %q, %v", said, err)
	}
}
