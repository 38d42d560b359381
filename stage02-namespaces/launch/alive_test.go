package launch_test

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// A child may close all that it does not know the number of, and its parent still hears
// of it: when it comes to its program, and when it fails before.
func TestAChildThatHasClosedAllElseIsStillHeardOf(t *testing.T) {
	folder, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	reserved, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer reserved.Close()
	alive := plan.Descriptor{Number: int(reserved.Fd()), Name: "alive"}
	for _, last := range []plan.Step{
		plan.Fchdir(plan.Descriptor{Number: int(folder.Fd()), Name: "folder"}),
		plan.Execve("/bin/sh", []string{"sh", "-c", "exec sleep 1000"}, nil),
	} {
		p := &plan.Plan{}
		p.Add(plan.HoldAlive(p, alive))
		p.Add(plan.CloseOthers(3, alive.Number)...)
		p.Add(plan.SetSignalMask(0), last, plan.Exit(0))
		process, err := launch.Start(p, launch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = process.Started()
		if last.Call() == "execve" && err != nil || last.Call() == "fchdir" && !errors.Is(err, unix.EBADF) {
			t.Errorf("%s: got %v", last.Call(), err)
		}
		if err := errors.Join(process.Kill(), process.Close()); err != nil {
			t.Error(err)
		}
	}
}
