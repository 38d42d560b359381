package vm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"skiff.example/course/vm"
	"skiff.example/course/vm/wire"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// cache is the one that make test-v2 uses, so that the kernel is made once.
func cache(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "skiff", "vm")
}

// machine is one that has busybox and runs a shell script for each job.
func machine(t *testing.T, scripts ...string) *vm.Machine {
	t.Helper()
	testkit.Need(t, "qemu-system-x86_64", "apt-get", "dpkg-deb", "busybox")
	kernel, err := vm.FindKernel(t.Context(), cache(t), vm.Modules)
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := rootfs.FromPrograms("busybox")
	if err != nil {
		t.Fatal(err)
	}
	m := &vm.Machine{
		Kernel: kernel, Memory: 256, Console: io.Discard,
		Guest: testkit.Build(t, "./guest"), Files: busybox.Files(),
	}
	for i, script := range scripts {
		m.Jobs = append(m.Jobs, wire.Job{
			Name: "job " + string(rune('1'+i)), Dir: "/", Args: []string{busyboxPath(t), "sh", "-c", script},
		})
	}
	return m
}

func busyboxPath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestJobsRunOneAfterAnotherAndReport(t *testing.T) {
	m := machine(t,
		`echo "pid $$"; echo trouble >&2; exit 7`,
		`kill -9 $$`,
		`sleep 1000 & echo "left a process that holds the output open"`)
	m.Jobs = append(m.Jobs, wire.Job{Name: "job 4", Dir: "/", Args: []string{"/no/such/program"}})
	output, ends := map[string]string{}, map[string]wire.Event{}
	err := m.Run(t.Context(), func(e wire.Event) error {
		output[e.Job] += string(e.Output)
		if e.Ended {
			ends[e.Job] = e
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for job, status := range map[string]int{"job 1": 7, "job 2": 128 + 9, "job 3": 0, "job 4": 127} {
		if end, ended := ends[job]; !ended || end.Status != status {
			t.Errorf("%s: ended with %+v, want status %d", job, end, status)
		}
	}
	if !regexp.MustCompile(`^pid \d+\ntrouble\n$`).MatchString(output["job 1"]) {
		t.Errorf("job 1 said %q", output["job 1"])
	}
	if why := ends["job 4"].Error; !strings.Contains(why, "/no/such/program: no such file or directory") {
		t.Errorf("a program that is not there: %q", why)
	}
}

func TestAPanicOfTheKernelIsReported(t *testing.T) {
	err := machine(t, `echo c > /proc/sysrq-trigger`).Run(t.Context(), func(wire.Event) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "died of Kernel panic - not syncing: sysrq triggered crash, while job 1 ran") {
		t.Errorf("the error is: %v", err)
	}
}

func TestAMachineThatHangsIsEnded(t *testing.T) {
	patience := errors.New("patience is at its end")
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	m := machine(t, `while :; do echo; sleep 1; done`)
	err := m.Run(ctx, func(e wire.Event) error {
		if len(e.Output) > 0 {
			end(patience) // as a time limit does it
		}
		return nil
	})
	if !errors.Is(err, patience) || !strings.Contains(err.Error(), "ended while job 1 ran") {
		t.Errorf("the error is: %v", err)
	}
}

// With kill -9 of the process that started it the machine ends as well.
func TestTheMachineEndsWithItsStarter(t *testing.T) {
	if os.Getenv("START_A_MACHINE") != "" {
		t.Log(machine(t, `echo running; sleep 1000`).Run(t.Context(), func(e wire.Event) error {
			_, err := os.Stdout.Write(e.Output)
			return err
		}))
		return
	}
	testkit.HostUnchangedAsInit(t) // which adopts the machine, and waits for it
	machine(t)                     // what it needs is there, or the test is skipped
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "START_A_MACHINE=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("running"))); err != nil {
		t.Errorf("it has not begun: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestTheReportIsThatOfGoTest(t *testing.T) {
	testkit.Need(t, "qemu-system-x86_64", "apt-get", "dpkg-deb")
	var report bytes.Buffer
	err := vm.Test(t.Context(), vm.Options{
		Root: "../..", Cache: cache(t), Timeout: time.Minute, Out: &report,
		Packages: []vm.Package{{Dir: "course/vm/testdata/passes"}, {Dir: "course/vm/testdata/fails"}},
	})
	if !errors.Is(err, vm.ErrFailed) {
		t.Errorf("the error is: %v", err)
	}
	testkit.Golden(t, report.String(), "report.golden")
}
