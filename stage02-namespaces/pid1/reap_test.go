package pid1_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// orphans makes ten of them, which end a little later: the shell that starts
// them is over at once.
const orphans = `for i in 1 2 3 4 5 6 7 8 9 10; do sh -c 'sleep 0.1 >/dev/null &'; done; `

func TestWithoutAnInitOrphansStayZombies(t *testing.T) {
	testkit.HostUnchanged(t)
	c := newContainer(t, "/bin/sh", "sh", "-c", orphans+"echo made; exec sleep 1000")
	c.line(t)
	eventually(t, func() string {
		if n := zombies(t, c.Pid); n != 10 {
			return fmt.Sprintf("%d zombies; want the ten orphans", n)
		}
		return ""
	})
}

func TestOrphansAreReaped(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, orphans+"echo made; exec sleep 1000")
	c.line(t)
	eventually(t, func() string {
		if all := children(t, c.Pid); len(all) != 1 || zombies(t, c.Pid) != 0 {
			return fmt.Sprintf("children of process 1: %v; want sleep alone", all)
		}
		return ""
	})
}

func TestADoubleForkedDaemonBecomesTheChildOfTheInit(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, `sh -c 'setsid sleep 1234 & echo started'; exec sleep 1000`)
	c.line(t)
	eventually(t, func() string {
		if all := children(t, c.Pid); len(all) != 2 {
			return fmt.Sprintf("children of process 1: %v; want the program and its daemon", all)
		}
		return ""
	})
}

func TestTheEndOfTheProgramEndsTheContainer(t *testing.T) {
	testkit.HostUnchanged(t) // and finds no sleep left
	c := withInit(t, `setsid sleep 1000 & exit 7`)
	if status := c.status(t); status != 7 {
		t.Errorf("status %d, want 7", status)
	}
}

func TestKillingTheInitEndsTheContainer(t *testing.T) {
	testkit.HostUnchanged(t) // and finds no sleep left
	c := withInit(t, `setsid sleep 1000 & sleep 1000 & echo ready; wait`)
	c.line(t)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c.lines); err != nil || len(rest) != 0 { // all copies of the pipe are closed
		t.Errorf("%q, %v", rest, err)
	}
}

// Where the pid namespace is shared the init is a subreaper: orphans come to
// it, and what is left at the end goes on to the next reaper, here this test.
func TestInASharedPidNamespaceItIsASubreaper(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := underInit(t, "sh", "-c", orphans+`sh -c 'sleep 1000 >/dev/null & echo $!'; read x; exit 3`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var orphan int
	if _, err := fmt.Fscan(out, &orphan); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		all := children(t, cmd.Process.Pid)
		if !strings.Contains(all[orphan], "sleep") || len(all) != 2 {
			return fmt.Sprintf("children of the init: %v; want the program and the orphan %d", all, orphan)
		}
		return ""
	})
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("the init ended with %v, want status 3", err)
	}
	if children(t, os.Getpid())[orphan] == "" {
		t.Error("the orphan has not gone to the next reaper")
	}
	if err := unix.Kill(orphan, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(orphan, nil, 0, nil); err != nil {
		t.Error(err)
	}
}

func TestTheInitIsProcessOneAndTheProgramItsChild(t *testing.T) {
	testkit.HostUnchanged(t)
	c := withInit(t, `echo $$ $PPID`)
	var pid, parent int
	if _, err := fmt.Sscan(c.line(t), &pid, &parent); err != nil || parent != 1 || pid == 1 {
		t.Errorf("the program is process %d, its parent %d", pid, parent)
	}
}

// zombies counts the dead children of a process.
func zombies(t *testing.T, parent int) int {
	t.Helper()
	n := 0
	for _, child := range children(t, parent) {
		if strings.HasPrefix(child, "Z ") {
			n++
		}
	}
	return n
}
