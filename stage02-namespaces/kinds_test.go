package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Namespaces one at a time: new, joined, kept, looked at. The independent eye is
// readlink(1) on /proc/self/ns.

// identity is which namespace of a kind a command line of stage02 ends up in.
func identity(t *testing.T, kind string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(output(t, stage02(t, append(args, "readlink", "/proc/self/ns/"+kind)...)))
}

var kinds = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"}

func TestEachKindAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, asked := range kinds {
		for _, kind := range kinds {
			ours, err := os.Readlink("/proc/self/ns/" + kind)
			if err != nil {
				t.Fatal(err)
			}
			if got := identity(t, kind, "new", asked); (got != ours) != (kind == asked) {
				t.Errorf("new %s: %s is %s, ours is %s", asked, kind, got, ours)
			}
		}
	}
}

func TestAContainerIsJoined(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := started(t, shellRoot(t))
	pid := childOf(t, cmd.Process.Pid)
	for _, kind := range []string{"pid", "net", "ipc", "uts"} { // the root has no readlink, so mnt comes below
		want, err := os.Readlink(fmt.Sprintf("/proc/%s/ns/%s", pid, kind))
		if err != nil {
			t.Fatal(err)
		}
		if got := identity(t, kind, "join", "--kinds", kind, pid); got != want {
			t.Errorf("join %s: got %s, want %s", kind, got, want)
		}
	}
	if got := output(t, stage02(t, "join", pid, "sh", "-c", "echo $$ /proc/[0-9]*")); !strings.Contains(got, "/proc/1 ") {
		t.Errorf("joined with all kinds it sees %s", got)
	}
	end(t, cmd.Process)
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
}

// end asks our program to end its container.
func end(t *testing.T, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func TestANamespaceIsKeptAndForgotten(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := started(t, shellRoot(t))
	pid, dir := childOf(t, cmd.Process.Pid), filepath.Join(t.TempDir(), "kept")
	output(t, stage02(t, "keep", pid, dir, "uts", "net", "ipc"))
	mistake(t, stage02(t, "keep", pid, dir, "user", "uts")) // which must not undo what is kept already
	want, err := os.Readlink(fmt.Sprintf("/proc/%s/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	end(t, cmd.Process)
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
	if got := identity(t, "net", "join", dir); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := output(t, stage02(t, "join", dir, "hostname")); got != "container\n" {
		t.Errorf("the kept name is %q", got)
	}
	output(t, stage02(t, "forget", dir))
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

// A container may share namespaces with another process: here the network of a
// first one, and its process ids.
func TestAContainerInNamespacesOfAnother(t *testing.T) {
	testkit.HostUnchanged(t)
	root := shellRoot(t)
	cmd := started(t, root)
	pid := childOf(t, cmd.Process.Pid)
	seen := output(t, stage02(t, "run", "--join", "net="+pid, "--join", "pid="+pid, root, "sh", "-c", "echo /proc/[0-9]*"))
	if !strings.HasPrefix(seen, "/proc/1 ") || strings.Count(seen, "/proc/") < 3 { // sh, sleep, and this sh
		t.Errorf("it sees %s", seen)
	}
	end(t, cmd.Process)
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
}

// The clocks that count from the boot are ahead by what was asked for; uptime(1)
// reads one of them.
func TestAClockIsAhead(t *testing.T) {
	testkit.HostUnchanged(t)
	uptime := func(args ...string) (seconds float64) {
		if _, err := fmt.Sscan(output(t, stage02(t, append(args, "cat", "/proc/uptime")...)), &seconds); err != nil {
			t.Fatal(err)
		}
		return seconds
	}
	const ahead = 864_000
	before := uptime("new", "uts")
	if got := uptime("new", "--clock", fmt.Sprint("boottime=", ahead), "time") - before; got < ahead || got > ahead+60 {
		t.Errorf("it is %v s ahead, want %d", got, ahead)
	}
}

func TestAMountOfOnesOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	shown := t.TempDir()
	if err := os.WriteFile(shown+"/note", []byte("from the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := shellRoot(t)
	got := output(t, stage02(t, "run",
		"--mount", "type=bind,source="+shown+",destination=/shown,ro", "--mount", "type=tmpfs,destination=/big,size=1m",
		root, "sh", "-c", "read line < /shown/note; echo $line; (echo x > /shown/new) 2>/dev/null || echo read-only; echo x > /big/file && echo written"))
	if got != "from the host\nread-only\nwritten\n" {
		t.Errorf("got %q", got)
	}
}

// With --init the program is a child of process 1, and its status ours.
func TestASmallProcessOne(t *testing.T) {
	testkit.HostUnchanged(t)
	root := shellRoot(t)
	for line, want := range map[string]int{"exit 0": 0, "exit 9": 9, "kill -TERM $$": 143, "test $$ != 1": 0} {
		cmd := stage02(t, "run", "--init", root, "sh", "-c", line)
		if _, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: status %d (%v), want %d", line, cmd.ProcessState.ExitCode(), err, want)
		}
	}
}

func TestLookTellsOwnNamespacesFromShared(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := started(t, shellRoot(t))
	pid := childOf(t, cmd.Process.Pid)
	seen := output(t, stage02(t, "look", pid))
	tree := output(t, stage02(t, "look", "--tree", pid))
	end(t, cmd.Process)
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
	var table strings.Builder
	for line := range strings.Lines(seen) {
		if fields := strings.Fields(line); len(fields) > 2 && (fields[1] == "own" || fields[1] == "shared") {
			fmt.Fprintln(&table, strings.Join(fields[:3], " "))
		}
	}
	testkit.Golden(t, table.String(), "look.golden")
	if !strings.Contains(tree, "own: mnt pid net ipc uts, process 1 inside") {
		t.Errorf("the tree is\n%s", tree)
	}
}
