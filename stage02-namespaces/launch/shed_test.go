package launch_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// A child that has let go of this program goes on, has nothing of its file mapped nor what its
// parent was given (execve(2)), and what /proc/PID/exe leads to cannot be written, also through a descriptor that is
// kept (CVE-2019-5736).
func TestAChildLetsGoOfThisProgram(t *testing.T) {
	testkit.HostUnchanged(t)
	if !launch.CanShed() {
		t.Skip("it takes CAP_SYS_ADMIN")
	}
	shed, err := launch.NewShed("waiting")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	p := &plan.Plan{}
	p.Add(shed.Steps()...)
	if parts, err := machine.Self(); err == nil && len(parts) == 3 { // as Go's own linker makes them
		testkit.Golden(t, p.String(), "shed.golden")
	}
	p.Add(gate.Steps()...)
	p.Add(plan.SetSignalMask(0), plan.Execve("/bin/sh", []string{"sh", "-c", "exit 7"}, nil))
	process, err := launch.Start(p, launch.Options{Timed: true})
	if err := errors.Join(err, shed.Close()); err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	of := func(name string) string { return fmt.Sprintf("/proc/%d/%s", process.Pid, name) }
	cmdline := ""
	for until := time.Now().Add(time.Minute); cmdline != "waiting\x00"; {
		text, err := os.ReadFile(of("cmdline"))
		if err := errors.Join(err, process.Failure()); err != nil || time.Now().After(until) {
			t.Fatalf("it is called %q: %v", cmdline, err)
		}
		cmdline = string(text)
	}
	if exe, _ := os.Readlink(of("exe")); !strings.HasPrefix(exe, "/memfd:") {
		t.Errorf("it says that it runs %q", exe)
	}
	own, _ := os.Executable()
	if maps, err := os.ReadFile(of("maps")); err != nil || strings.Contains(string(maps), own) {
		t.Errorf("it has the program mapped: %v\n%s", err, maps)
	}
	memory, err := os.Open(of("mem"))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	// The environment lies behind the arguments, which Go leaves where they are.
	given := int64(uintptr(unsafe.Pointer(unsafe.StringData(os.Args[0]))))
	if _, err := memory.ReadAt(make([]byte, 1), given); !errors.Is(err, unix.EIO) {
		t.Errorf("reading what this process was given: %v", err)
	}
	kept, err := unix.Open(of("exe"), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(kept)
	if err := gate.Open(); err != nil {
		t.Fatal(err)
	}
	status, err := process.Wait()
	if err != nil || status.ExitStatus() != 7 {
		t.Fatalf("%v, %v", status, err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/self/fd/%d", kept), []byte("evil"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("writing to what it says that it runs: %v", err)
	}
}
