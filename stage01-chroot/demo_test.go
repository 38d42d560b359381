package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// demoPrograms are what the demonstration takes from the host.
var demoPrograms = []string{"sh", "ls", "cat", "id", "hostname", "ps", "mount", "sleep", "grep"}

func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, demoPrograms...)
	testkit.Golden(t, withoutHostname(t, output(t, stage01(t, "demo"))), "demo.golden")
}

// withoutHostname replaces the host's name where it is all of a line.
func withoutHostname(t *testing.T, s string) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(name)+`$`).ReplaceAllString(s, "  HOSTNAME")
}

// Ctrl-C comes when the most is to be cleaned up: a mount, a process, a
// folder. The shell of a command line ends without waiting for its command, so
// init does that.
func TestAfterCtrlCNothingIsLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	folder := t.TempDir()
	cmd := stage01(t, "demo")
	cmd.Env = append(cmd.Env, "TMPDIR="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal sends Ctrl-C to the whole group
	interruptAt(t, cmd, "sleep 60")
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// interruptAt runs cmd, interrupts its process group when it prints mark, and
// waits until it has failed.
func interruptAt(t *testing.T, cmd *exec.Cmd, mark string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), mark) {
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it went on after Ctrl-C")
	}
}
