package launch_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// start launches p with o, and closes the process with the test.
func start(t testing.TB, p *plan.Plan, o launch.Options) *launch.Process {
	t.Helper()
	process, err := launch.Start(p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Close(); err != nil {
			t.Error(err)
		}
	})
	return process
}

// exits is a plan of these steps and an exit with this status.
func exits(status int, steps ...plan.Step) *plan.Plan {
	p := &plan.Plan{}
	p.Add(steps...)
	p.Add(plan.Exit(status))
	return p
}

func TestTheStatusOfTheChildIsSeen(t *testing.T) {
	process := start(t, exits(7), launch.Options{})
	status, err := process.Wait()
	if err != nil || status.ExitStatus() != 7 {
		t.Errorf("status %v, error %v; want 7", status.ExitStatus(), err)
	}
}

func TestAProgramIsExecuted(t *testing.T) {
	p := &plan.Plan{}
	p.Add(plan.SetSignalMask(0), plan.Execve("/bin/sh", []string{"sh", "-c", "exit 5"}, nil))
	process := start(t, p, launch.Options{})
	if err := process.Started(); err != nil {
		t.Fatal(err)
	}
	if status, err := process.Wait(); err != nil || status.ExitStatus() != 5 {
		t.Errorf("status %v, error %v; want 5", status.ExitStatus(), err)
	}
}

func TestTheFailedStepIsNamed(t *testing.T) {
	process := start(t, exits(0, plan.Umask(0o22), plan.Chdir("/no/such/place")), launch.Options{})
	err := process.Started()
	var failed *plan.Error
	if !errors.As(err, &failed) || failed.Index != 1 || !errors.Is(err, unix.ENOENT) {
		t.Fatalf("error %v", err)
	}
	want := `change directory to "/no/such/place": no such file or directory (step 2 of 3)`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if status, _ := process.Wait(); status.ExitStatus() != 127 {
		t.Errorf("the child ended with %v", status)
	}
}

func TestAKilledChildIsNotTakenForAStartedOne(t *testing.T) {
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	process := start(t, exits(0, gate.Steps()...), launch.Options{})
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := process.Started(); err == nil {
		t.Error("no error")
	}
	if err := process.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestAGateHoldsTheChildUntilItIsOpened(t *testing.T) {
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	made := t.TempDir() + "/made"
	process := start(t, exits(0, append(gate.Steps(), plan.Mkdirat(plan.CWD, made, 0o755))...), launch.Options{})
	atTheGate(t, process.Pid)
	if _, err := os.Stat(made); err == nil {
		t.Fatal("the child passed a closed gate")
	}
	if err := gate.Open(); err != nil {
		t.Fatal(err)
	}
	if err := process.Started(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(made); err != nil {
		t.Error(err)
	}
	if _, err := process.Wait(); err != nil {
		t.Error(err)
	}
}

// atTheGate waits until a process is in read(2): proc_pid_syscall(5).
func atTheGate(t *testing.T, pid int) {
	t.Helper()
	want := fmt.Sprintf("%d ", unix.SYS_READ)
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		call, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil || time.Now().After(end) {
			t.Fatalf("process %d does not come to its gate: it is in call %q, %v", pid, call, err)
		}
		if strings.HasPrefix(string(call), want) {
			return
		}
	}
}

// Between clone3 and the program all signals are blocked, and afterwards the
// parent's thread has the mask that it had: proc_pid_status(5).
func TestSignalsAreBlockedUntilTheProgramRuns(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := blockedBy(t, "thread-self")
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	process := start(t, exits(0, gate.Steps()...), launch.Options{})
	atTheGate(t, process.Pid)
	const all = "fffffffffffbfeff" // but for SIGKILL and SIGSTOP, which nobody can block
	if got := blockedBy(t, fmt.Sprint(process.Pid)); got != all {
		t.Errorf("the child blocks %s, want %s", got, all)
	}
	if after := blockedBy(t, "thread-self"); after != before {
		t.Errorf("this thread blocks %s, before %s", after, before)
	}
	if err := process.Kill(); err != nil {
		t.Error(err)
	}
}

// blockedBy is the mask of signals that a process blocks, in hexadecimal.
func blockedBy(t *testing.T, process string) string {
	t.Helper()
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "\nSigBlk:\t")
	mask, _, _ = strings.Cut(mask, "\n")
	return mask
}

func TestAGateThatIsDroppedEndsTheChild(t *testing.T) {
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	process := start(t, exits(0, gate.Steps()...), launch.Options{})
	if err := gate.Close(); err != nil {
		t.Fatal(err)
	}
	impatience := time.AfterFunc(10*time.Second, func() {
		t.Error("the child waits for ever")
		_ = process.Kill()
	})
	defer impatience.Stop()
	if err := process.Started(); !errors.Is(err, unix.ECANCELED) {
		t.Errorf("error %v, want %v", err, unix.ECANCELED)
	}
	if _, err := process.Wait(); !errors.Is(err, unix.ECANCELED) {
		t.Errorf("error %v, want %v", err, unix.ECANCELED)
	}
}

func TestStepsAreTimed(t *testing.T) {
	process := start(t, exits(0, plan.Umask(0), plan.Umask(0o22)), launch.Options{Timed: true})
	if _, err := process.Wait(); err != nil {
		t.Fatal(err)
	}
	times := process.Times()
	if len(times) != 2 {
		t.Fatalf("%d timings, want 2", len(times))
	}
	for _, timing := range times {
		if timing.Took <= 0 || timing.Took > 1e9 {
			t.Errorf("%s took %v", timing.Step, timing.Took)
		}
	}
}

func TestAPlanWithoutAProgramHasFailed(t *testing.T) {
	for name, last := range map[string]plan.Step{
		"no program":           plan.Umask(0o22),
		"a program that fails": plan.Execve("/no/such/program", []string{"x"}, nil).Accept(unix.ENOENT),
	} {
		p := &plan.Plan{}
		p.Add(last)
		process := start(t, p, launch.Options{})
		if err := process.Started(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if status, err := process.Wait(); err == nil || status.ExitStatus() != 127 {
			t.Errorf("%s: status %v, error %v", name, status, err)
		}
	}
}

// Where no ids are mapped nobody can become root; the hint says where to look.
func TestAnIDThatIsNotMappedIsNamed(t *testing.T) {
	for file, step := range map[string]plan.Step{"gid_map": plan.Setresgid(0), "uid_map": plan.Setresuid(0)} {
		_, err := start(t, exits(0, step), launch.Options{Namespaces: unix.CLONE_NEWUSER}).Wait()
		if !errors.Is(err, unix.EINVAL) || !strings.Contains(hint.Of(err), file) {
			t.Errorf("error %v, hint %q", err, hint.Of(err))
		}
	}
}
