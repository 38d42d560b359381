package main_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// What the container looks like from inside is told by the probe, which knows
// nothing of how it was made.
func TestWhatIsSeenInside(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := output(t, stage02(t, "run", "--hostname", "box", probeRoot(t),
		"/probe", "hostname", "process", "cwd", "root", "mounts", "processes", "network", "descriptors", "umask", "environment"))
	testkit.Golden(t, portable(seen), "inside.golden")
}

// The kernel's memory, and the file that makes it reboot, are out of reach, where
// the kernel has them.
func TestTheKernelIsOutOfReach(t *testing.T) {
	testkit.HostUnchanged(t)
	const attacks = `
test ! -e /proc/kcore || { read -r line < /proc/kcore && echo "kcore can be read"; }
test ! -e /proc/sysrq-trigger || { (: > /proc/sysrq-trigger) 2>/dev/null && echo "sysrq can be written"; }
(: > /proc/sys/kernel/hostname) 2>/dev/null && echo "sysctls can be written"
echo done`
	if got := output(t, stage02(t, "run", shellRoot(t), "sh", "-c", attacks)); got != "done\n" {
		t.Error(got)
	}
}

// The same as an ordinary user: what differs is who one is, and how the devices
// came to be.
func TestWhatAnOrdinaryUserSeesInside(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := asNobody(t, stage02(t))
	root := cmd.Dir + "/root"
	output(t, exec.Command("install", "-d", "-m", "755", "-o", fmt.Sprint(nobody), root))
	output(t, exec.Command("install", "-m", "755", testkit.Probe(t), root+"/probe"))
	cmd.Args = append(cmd.Args, "run", "--hostname", "box", root, "/probe", "hostname", "process", "ids", "mounts")
	testkit.Golden(t, portable(output(t, cmd)), "inside-user.golden")
}

// portable drops what depends on the kernel or the disk of the host: the mount
// of the root itself, files of /proc that not every kernel has, and an option
// of tmpfs.
func portable(seen string) string {
	var kept strings.Builder
	for line := range strings.Lines(seen) {
		if strings.HasPrefix(line, "mount / ") || strings.HasPrefix(line, "mount /proc/sysrq-trigger ") ||
			strings.HasPrefix(line, "mount /proc/kcore ") {
			continue
		}
		kept.WriteString(strings.Replace(line, ",inode64", "", 1))
	}
	return kept.String()
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	root := shellRoot(t)
	for command, want := range map[string]int{
		"exit 0":  0,
		"exit 42": 42,
		// Process 1 does not get the signals that it sends to itself, so another
		// one must.
		"sh -c 'kill -TERM $$'": 128 + int(syscall.SIGTERM),
	} {
		cmd := stage02(t, "run", root, "sh", "-c", command+"; exit $?")
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: status %d (%v), want %d", command, got, err, want)
		}
	}
}

// shellRoot is a root file system with sh and sleep.
func shellRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	closure, err := rootfs.FromPrograms("sh", "sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := closure.Write(root); err != nil {
		t.Fatal(err)
	}
	return root
}

// A container's processes end with it: also those that its first process has
// left running, and also when it is our own program that is ended.
func TestNothingOutlivesTheContainer(t *testing.T) {
	root := shellRoot(t)
	t.Run("its first process ends", func(t *testing.T) {
		testkit.HostUnchanged(t)
		output(t, stage02(t, "run", root, "sh", "-c", "sleep 60 >/dev/null 2>&1 & exit 0"))
	})
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(fmt.Sprint("the runtime gets ", signal), func(t *testing.T) {
			testkit.HostUnchangedAsInit(t) // after SIGKILL, init waits for the container
			cmd := started(t, root)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("it succeeded")
			}
		})
	}
}

// started is a container that sleeps, and does so already.
func started(t *testing.T, root string) *exec.Cmd {
	t.Helper()
	cmd := stage02(t, "run", root, "sh", "-c", "echo ready; sleep 60; exit")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // for a test that fails; else it is done
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return cmd
}

// childOf is the pid of the only child of a process. A child is listed with the
// thread that has cloned it.
func childOf(t *testing.T, pid int) string {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, strings.Fields(string(text))...)
	}
	if len(children) != 1 {
		t.Fatalf("the process has the children %q, want one", children)
	}
	return children[0]
}
