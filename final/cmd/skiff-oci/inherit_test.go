package main_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// What a container has from its caller, and what the caller gets of it: descriptors
// (--preserve-fds, sd_listen_fds(3)) and a pidfd (--pidfd-socket).

func TestADescriptorToKeepMustBeOpen(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"))
	for _, command := range []string{"run", "create"} {
		got := b.do(command, "--preserve-fds", "1", "--bundle", b.dir, "box")
		if got.status != 1 || !strings.Contains(got.err, "descriptor 3 is not open\nhint: ") {
			t.Errorf("%s: status %d: %s", command, got.status, got.err)
		}
	}
	b.wantNothing()
}

// As with runc: listening sockets first, then what --preserve-fds names.
func TestListeningSocketsArePassedOn(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; busybox readlink /proc/self/fd/3; cat <&4"))
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	b.must(err)
	defer l.Close()
	socket, err := l.(*net.UnixListener).File()
	b.must(err)
	defer socket.Close()
	file := filepath.Join(t.TempDir(), "four")
	b.must(os.WriteFile(file, []byte("from descriptor 4\n"), 0o600))
	four, err := os.Open(file)
	b.must(err)
	defer four.Close()
	cmd := b.command("run", "--preserve-fds", "1", "--bundle", b.dir, "box")
	// LISTEN_PID is the process's own, which only a shell can know.
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)
	cmd.Path = mustFind(b, "sh")
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{socket, four}
	got := b.finish(cmd)
	if lines := strings.Split(got.out, "\n"); got.status != 0 || len(lines) != 4 || lines[0] != "1 1" ||
		!strings.HasPrefix(lines[1], "socket:") || lines[2] != "from descriptor 4" {
		t.Errorf("status %d: %q %s", got.status, got.out, got.err)
	}
}

// Those of another process are not passed on.
func TestSocketsForAnotherProcessStay(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "echo _$LISTEN_FDS"))
	cmd := b.command("run", "--bundle", b.dir, "box")
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID=1")
	if got := b.finish(cmd); got.out != "_\n" {
		t.Errorf("got %q: %s", got.out, got.err)
	}
}

// The pidfd that comes out of the socket is that of the container's process.
func TestAPidfdIsSent(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "100"))
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	b.must(err)
	defer l.Close()
	b.succeed("create", "--pidfd-socket", path, "--bundle", b.dir, "box")
	c, err := l.AcceptUnix()
	b.must(err)
	defer c.Close()
	text, control := make([]byte, 64), make([]byte, 64)
	n, size, _, _, err := c.ReadMsgUnix(text, control)
	b.must(err)
	messages, err := unix.ParseSocketControlMessage(control[:size])
	b.must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	b.must(err)
	defer unix.Close(fds[0])
	if string(text[:n]) != "standard" {
		t.Errorf("the message is %q", text[:n])
	}
	b.must(unix.PidfdSendSignal(fds[0], unix.SIGKILL, nil, 0))
	b.eventually("it has ended", func() bool { return b.status("box") == specs.StateStopped })
	b.succeed("delete", "box")
	failed := b.do("create", "--pidfd-socket", "/nonesuch", "--bundle", b.dir, "box")
	if failed.status != 1 || !strings.Contains(failed.err, `connect to socket "/nonesuch"`) {
		t.Errorf("status %d: %s", failed.status, failed.err)
	}
	b.wantNothing()
}

// Go's sysmon has another timer slack than the caller, and so has a thread that it makes, on
// which a process may be born: package shortlived.
func TestTimerSlackIsTheCallers(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	hook := filepath.Join(t.TempDir(), "hook")
	b := newBundle(t, program("sh", "-c", "cat /proc/self/timerslack_ns; sleep 1000"), func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "cat /proc/self/timerslack_ns >" + hook}}}}
	})
	runtime.LockOSThread() // for good: its timer slack is changed
	b.must(unix.Prctl(unix.PR_SET_TIMERSLACK, 70_000, 0, 0, 0))
	box := b.start("70000", "run", "--bundle", b.dir, "box")
	if got := b.succeed("exec", "box", "cat", "/proc/self/timerslack_ns"); got != "70000\n" {
		t.Errorf("exec: %q", got)
	}
	if got := b.read(hook); got != "70000\n" {
		t.Errorf("hook: %q", got)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	exec := b.command("exec", "box", "true")
	exec.Path, exec.Args = mustFind(b, "strace"), append([]string{"strace", "-f", "-e", "trace=prctl,clone3", "-o", trace}, exec.Args...)
	if r := b.finish(exec); r.status != 0 {
		t.Errorf("strace: status %d: %s", r.status, r.err)
	}
	if born := regexp.MustCompile(`(\d+) +prctl\(PR_SET_TIMERSLACK, 70000\) += 0\n(\d+) +clone3\(`).FindStringSubmatch(b.read(trace)); born == nil || born[1] != born[2] {
		t.Errorf("the thread is not given the slack before it clones:\n%s", b.read(trace))
	}
	b.succeed("kill", "box", "KILL")
	box.end()
	b.wantNothing()
}
