package main_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The files that the kernel answers for: what happens without them, what is
// there with them, and what is left when the program has ended.

func TestWithoutDevNullWhatIsThrownAwayIsKept(t *testing.T) {
	testkit.HostUnchanged(t)
	root := busyboxRoot(t)
	const throwAway = "echo waste > /dev/null; cat /dev/null"
	if got := output(t, stage01(t, "run", root, "/bin/busybox", "sh", "-c", throwAway)); got != "waste\n" {
		t.Errorf("without --dev: %q", got)
	}
	got := output(t, stage01(t, "run", "--dev", root, "/bin/busybox", "sh", "-c", throwAway))
	if got != "" {
		t.Errorf("with --dev: %q", got)
	}
}

// Busybox looks at the nodes, tries them, and reads what each file system says.
func TestWhatIsInDevProcAndSys(t *testing.T) {
	testkit.HostUnchanged(t)
	const look = `
cd /dev; for f in *; do stat -c '%n %F %t:%T %a' $f; done
head -c 3 zero | od -An -tx1; echo > full || true; head -c 8 urandom | wc -c
cat /proc/self/comm; cat /sys/class/net/lo/address; touch /sys/x
grep -v ' / ' /proc/mounts`
	cmd := stage01(t, "run", "--dev", "--proc", "--sys", busyboxRoot(t), "sh", "-c", look)
	old := syscall.Umask(0o077) // the nodes are everybody's, whatever the caller's mask
	seen := output(t, cmd)
	syscall.Umask(old)
	testkit.Golden(t, strings.ReplaceAll(seen, ",inode64", ""), "kernelfiles.golden")
}

func TestMountsOutliveTheProgramUntilTheyAreCleaned(t *testing.T) {
	testkit.HostUnchanged(t)
	root := busyboxRoot(t)
	run := []string{"run", "--dev", "--proc", root, "/bin/busybox", "true"}
	output(t, stage01(t, run...))
	report := mistake(t, stage01(t, run...))
	report += "$ stage01 clean TEMP\n" + output(t, stage01(t, "clean", root))
	report += "$ stage01 clean TEMP\n" + output(t, stage01(t, "clean", root)) // again is fine
	output(t, stage01(t, run...))
	testkit.Golden(t, report, "clean.golden")
}

// A run that fails half-way unmounts what it has mounted: here there is no
// room for the program's arguments.
func TestAFailureLeavesNoMounts(t *testing.T) {
	testkit.HostUnchanged(t)
	root := busyboxRoot(t)
	const want = `stage01: execute "/bin/busybox": argument list too long (step 5 of 5)`
	if got := tooLong(t, root, "--proc"); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if left := output(t, stage01(t, "clean", root)); left != "" {
		t.Errorf("there was something to clean: %s", left)
	}
}

// A root may come from anybody. A link where /proc should be leads to a place
// in the root, never to one of the host's.
func TestALinkForAMountPointStaysInTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	root, outside := busyboxRoot(t), t.TempDir()
	output(t, exec.Command("rmdir", root+"/proc"))
	if err := os.Symlink(outside, root+"/proc"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(root+outside, 0o755); err != nil {
		t.Fatal(err)
	}
	got := output(t, stage01(t, "run", "--proc", root, "/bin/busybox", "cat", "/proc/self/comm"))
	left, err := os.ReadDir(outside)
	if got != "busybox\n" || err != nil || len(left) > 0 {
		t.Errorf("inside: %q, outside: %v, %v", got, left, err)
	}
}

// tooLong runs the longest command lines with which stage01 itself can still be
// started, without any environment. The program gets one, which is too much. It
// returns what stage01 says.
func tooLong(t *testing.T, root string, flags ...string) string {
	t.Helper()
	output(t, exec.Command("cp", testkit.Build(t, "."), root+"/s"))
	words := append(append([]string{"s", "run"}, flags...), ".", "/bin/busybox", "true")
	fits, tooMuch := 0, 8<<20 // bytes; the kernel takes 6 MiB at most, whatever RLIMIT_STACK is
	for tooMuch-fits > 1 {
		size := (fits + tooMuch) / 2
		var said strings.Builder
		cmd := &exec.Cmd{Path: "./s", Args: append(words, arguments(size)...), Dir: root, Env: []string{}, Stderr: &said}
		switch err := cmd.Run(); {
		case err == nil:
			fits = size
			output(t, stage01(t, "clean", root))
		case errors.Is(err, syscall.E2BIG):
			tooMuch = size
		default:
			return said.String()
		}
	}
	t.Fatal("there is no command line that only the program could not be started with")
	return ""
}

// arguments are so many bytes in few arguments.
func arguments(size int) []string {
	const most = 128<<10 - 1 // of one argument: MAX_ARG_STRLEN, execve(2)
	var args []string
	for ; size > most; size -= most {
		args = append(args, strings.Repeat("a", most))
	}
	return append(args, strings.Repeat("a", size))
}
