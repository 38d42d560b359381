package pid1_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// traps says the number of every signal that it gets.
const traps = `
for n in $(seq 1 31) $(seq 35 64); do
  case $n in 9|17|19) ;; *) trap "echo $n" $n ;; esac
done
sleep 1000 &
echo ready
while :; do wait; done`

func TestSignalsArePassedOn(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, traps)
	c.line(t)
	for n := unix.Signal(1); n <= 64; n++ {
		switch n {
		case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, // see the list of those that are kept
			unix.SIGURG, unix.SIGPROF, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, 32, 33, 34:
			continue
		}
		if err := c.Signal(n); err != nil {
			t.Fatal(err)
		}
		if got := c.line(t); got != fmt.Sprint(int(n)) {
			t.Fatalf("sent %v (%d), the program got %s", unix.SignalName(n), n, got)
		}
	}
}

func TestSignalsThatAreOursAreNotPassedOn(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, traps)
	c.line(t)
	for _, n := range []unix.Signal{unix.SIGURG, unix.SIGPROF, unix.SIGTTIN, unix.SIGTTOU, unix.SIGTSTP, unix.SIGCHLD, unix.SIGUSR1} {
		if err := c.Signal(n); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.line(t); got != fmt.Sprint(int(unix.SIGUSR1)) {
		t.Errorf("the program got %s, want %d alone", got, unix.SIGUSR1)
	}
}

// From inside, the kernel gives process 1 only signals that it has a handler
// for: pid_namespaces(7).
func TestSignalsFromInsideArePassedOn(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, `trap 'echo got it; exit 4' TERM; sleep 1000 & kill -TERM 1; wait`)
	if got, status := c.line(t), c.status(t); got != "got it" || status != 4 {
		t.Errorf("%q, status %d", got, status)
	}
}

func TestAProgramThatASignalEndsIsSeenAsShellsShowIt(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, `echo ready; exec sleep 1000`)
	c.line(t)
	if err := c.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := c.status(t); status != 128+int(unix.SIGTERM) {
		t.Errorf("status %d", status)
	}
}

// A debugger stops with SIGSTOP, and wants to find it so.
func TestAProgramThatSomebodyHasStoppedStaysSo(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, `n=0; trap 'n=$((n + 1))' CONT; kill -STOP $$; sleep 1000 & trap 'echo continued $n; exit' TERM; echo ready; wait; wait`)
	eventually(t, func() string {
		for _, state := range children(t, c.Pid) {
			if strings.HasPrefix(state, "T ") {
				return ""
			}
		}
		return "the program has not stopped"
	})
	if err := c.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.line(t)
	if err := c.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := c.line(t); got != "continued 1" {
		t.Errorf("%q", got)
	}
}

func TestASignalThatIsIgnoredFromTheStartStaysIgnored(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap '' HUP; exec "$1" sh -c 'kill -HUP $PPID $$; echo alive'`, "sh", initProgram(t))
	if got := output(t, cmd); got != "alive\n" {
		t.Errorf("%q", got)
	}
}

func TestTheProgramStartsWithoutBlockedOrCaughtSignals(t *testing.T) {
	cmd := underInit(t, "cat", "/proc/self/status")
	got := output(t, blocking(t, cmd, unix.SIGTERM, unix.SIGUSR2))
	// Signals 32 and 33 are the C library's own (nptl(7)); make(1) starts what it
	// starts with both ignored, and Go leaves them alone.
	const libc = 1<<31 | 1<<32
	for _, set := range []string{"SigBlk", "SigIgn", "SigCgt"} {
		_, mask, _ := strings.Cut(got, set+":\t")
		mask, _, _ = strings.Cut(mask, "\n")
		signals, err := strconv.ParseUint(mask, 16, 64)
		if err != nil || signals&^libc != 0 {
			t.Errorf("%s is not empty in\n%s", set, got)
		}
	}
}

// blocking starts cmd with these signals blocked: env(1) can do that.
func blocking(t *testing.T, cmd *exec.Cmd, signals ...unix.Signal) *exec.Cmd {
	t.Helper()
	testkit.Need(t, "env")
	var args []string
	for _, s := range signals {
		args = append(args, "--block-signal="+strings.TrimPrefix(unix.SignalName(s), "SIG"))
	}
	return exec.Command("env", append(append(args, cmd.Path), cmd.Args[1:]...)...)
}
