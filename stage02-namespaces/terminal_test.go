package main_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// newTerminal makes a pseudoterminal: pty(7).
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// At a terminal the program of --init can read, and afterwards so can whoever
// has called us. A process group in the background could not: SIGTTIN, EIO.
func TestTheTerminalIsPassedOnAndComesBack(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, init := range []string{"", "--init"} {
		master, slave := newTerminal(t)
		inside := `read line; echo "inside: $line"`
		line := fmt.Sprintf(`%s run %s %s sh -c '%s'; read line; echo "outside: $line"`, testkit.Build(t, "."), init, shellRoot(t), inside)
		cmd := exec.Command("sh", "-c", line)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		impatience := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		if _, err := master.WriteString("one\ntwo\n"); err != nil {
			t.Error(err)
		}
		err := cmd.Wait()
		impatience.Stop()
		slave.Close()
		var said strings.Builder
		for lines := bufio.NewScanner(master); lines.Scan(); { // until EIO: nobody has the slave any more
			fmt.Fprintln(&said, strings.TrimSpace(lines.Text()))
		}
		if err != nil || !strings.Contains(said.String(), "inside: one\n") || !strings.Contains(said.String(), "outside: two\n") {
			t.Errorf("%q: %v, the terminal shows\n%s", init, err, said.String())
		}
	}
}
