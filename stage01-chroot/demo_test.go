package main_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// demoPrograms are what the demonstration takes from the host.
var demoPrograms = []string{"sh", "ls", "cat", "cp", "cut", "grep", "chroot", "hostname", "id", "mount", "ps", "sleep"}

func TestTheDemonstration(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, demoPrograms...)
	testkit.Golden(t, testkit.WithoutHostname(t, output(t, stage01(t, "demo"))), "demo.golden")
}

// Programs that are missing are named before anything is done.
func TestTheDemonstrationNamesWhatItNeeds(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh", "ls")
	folder := t.TempDir()
	output(t, exec.Command("sh", "-c", `ln -s "$(command -v sh)" "$(command -v ls)" "$0"`, folder))
	cmd := stage01(t, "demo")
	cmd.Env = append(cmd.Env, "PATH="+folder)
	testkit.Golden(t, mistake(t, cmd), "programs.golden")
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

// `stage01 demo | head`: what is written next has no reader.
func TestWhenNobodyReadsNothingIsLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	testkit.Need(t, demoPrograms...)
	cmd, folder := demoIn(t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, reading := out.Read(make([]byte, 1))
	if err := errors.Join(reading, out.Close()); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGPIPE) {
		t.Errorf("it ended with %v", err)
	}
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

// Anybody may make a folder of such a name in /tmp, and root's clean would
// remove what is in it.
func TestCleanLeavesWhatIsAnothers(t *testing.T) {
	testkit.HostUnchanged(t)
	const nobody = 65534
	folder := t.TempDir()
	others := folder + "/stage01-1"
	writeTree(t, others)
	if err := os.Chown(others, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	writeTree(t, folder+"/mine") // a link to it is nobody's demonstration either
	if err := os.Symlink("mine", folder+"/stage01-2"); err != nil {
		t.Fatal(err)
	}
	writeTree(t, folder+"/stage01-3")
	clean := stage01(t, "clean")
	clean.Env = append(clean.Env, "TMPDIR="+folder)
	if said := output(t, clean); said != "removed "+folder+"/stage01-3\n" {
		t.Errorf("it said %q", said)
	}
	if _, err := os.Stat(others + "/file"); err != nil {
		t.Error(err)
	}
}

// writeTree makes a folder with a file in it.
func writeTree(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/file", []byte("text"), 0o644)
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
