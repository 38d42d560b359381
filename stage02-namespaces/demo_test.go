package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// demoPrograms are what the demonstration takes from the host.
var demoPrograms = []string{
	"sh", "ls", "cat", "cut", "grep", "hostname", "ps", "mount", "sleep", "chroot", "ipcmk", "ipcs", "unshare", "sed", "mknod",
}

// It kills one of its runtimes, and init waits for that one's container.
func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	testkit.Golden(t, testkit.WithoutHostname(t, output(t, stage02(t, "demo"))), "demo.golden")
}

// An ordinary user sees the same, with a user namespace in everything.
func TestTheDemonstrationOfAnOrdinaryUser(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, demoPrograms...)
	cmd := asNobody(t, stage02(t, "demo"))
	shown := strings.ReplaceAll(output(t, cmd), cmd.Dir, os.TempDir()) // its folder is in one of ours
	testkit.Golden(t, testkit.WithoutHostname(t, shown), "demo-user.golden")
}

// nobody is the id of an ordinary user, who has no range of other ids.
const nobody = 65534

// asNobody lets an ordinary user run cmd, in a temporary folder of his own.
func asNobody(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	folder, err := os.MkdirTemp("", "nobody-") // not t.TempDir: its parents are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd.Path = folder + "/stage02"
	output(t, exec.Command("install", "-m", "755", cmd.Args[0], cmd.Path))
	cmd.Dir = folder
	cmd.Env = append(cmd.Env, "TMPDIR="+folder, "HOME="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// Ctrl-C comes while there is a process and a folder to be cleaned
// up. The shell of a command line ends without waiting for its command, so
// init does that.
func TestAfterCtrlCNothingIsLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	folder := t.TempDir()
	cmd := stage02(t, "demo")
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
