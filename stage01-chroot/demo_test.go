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
var demoPrograms = []string{"sh", "ls", "cat", "id", "hostname", "ps", "mount", "sleep", "grep", "cut", "chroot"}

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

// A signal comes when the most is to be cleaned up: a mount, a process, a
// folder. The shell of a command line ends without waiting for its command, so
// init does that.

func TestAfterCtrlCNothingIsLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	cmd, folder := demoIn(t)
	signalAt(t, cmd, "sleep 60", syscall.SIGINT)
	empty(t, folder)
}

func TestAfterAKillCleanLeavesNothing(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	cmd, folder := demoIn(t)
	signalAt(t, cmd, "sleep 60", syscall.SIGKILL)
	clean := stage01(t, "clean")
	clean.Env = append(clean.Env, "TMPDIR="+folder)
	said := output(t, clean)
	empty(t, folder)
	form := `^unmounted ` + folder + `/stage01-\d+/root/proc\nremoved ` + folder + `/stage01-\d+\n$`
	if !regexp.MustCompile(form).MatchString(said) {
		t.Errorf("it said\n%swant %s", said, form)
	}
}

// A demonstration that goes on is left alone.
func TestCleanLeavesADemonstrationThatGoesOn(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, demoPrograms...)
	cmd, folder := demoIn(t)
	var others string
	signalled := at(t, cmd, "sleep 60", func() {
		clean := stage01(t, "clean")
		clean.Env = append(clean.Env, "TMPDIR="+folder)
		others += output(t, clean)
	})
	if signalled != nil || others != "" {
		t.Errorf("the demonstration ended with %v; clean said %q", signalled, others)
	}
	empty(t, folder)
}

// demoIn is the demonstration, in a process group of its own, as a terminal
// would start it, with a folder for its temporary ones.
func demoIn(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	folder := t.TempDir()
	cmd := stage01(t, "demo")
	cmd.Env = append(cmd.Env, "TMPDIR="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, folder
}

// signalAt sends a signal to cmd's process group when it prints mark, and
// waits until it has failed.
func signalAt(t *testing.T, cmd *exec.Cmd, mark string, signal syscall.Signal) {
	t.Helper()
	err := at(t, cmd, mark, func() {
		if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		t.Errorf("it went on after %v", signal)
	}
}

// at runs cmd, calls do each time that it prints a line with mark, and returns
// how it ended.
func at(t *testing.T, cmd *exec.Cmd, mark string, do func()) error {
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
			do()
		}
	}
	return cmd.Wait()
}

// empty is a failure if something is in folder.
func empty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
