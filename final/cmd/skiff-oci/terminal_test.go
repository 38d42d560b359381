package main_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// A screen is a terminal that a test sits at: it types into the master, and
// reads what is shown.
type screen struct {
	*bundle
	master, slave *os.File
	mutex         sync.Mutex
	text          bytes.Buffer
	closed        chan struct{}
}

// newScreen makes a terminal of 33 rows and 91 columns: pty(7).
func newScreen(b *bundle) *screen {
	b.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	b.must(err)
	b.must(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		b.Fatal(errno)
	}
	s := watch(b, master)
	s.slave = os.NewFile(slave, "slave")
	s.resize(33, 91)
	return s
}

// watch reads from a master to its end.
func watch(b *bundle, master *os.File) *screen {
	s := &screen{bundle: b, master: master, closed: make(chan struct{})}
	go func() {
		defer close(s.closed)
		part := make([]byte, 4096)
		for {
			n, err := master.Read(part)
			s.mutex.Lock()
			s.text.Write(part[:n])
			s.mutex.Unlock()
			if err != nil {
				return // EIO: no slave is open any more
			}
		}
	}()
	return s
}

// close gives the terminal up, when everybody else has.
func (s *screen) close() {
	if s.slave != nil {
		_ = s.slave.Close()
	}
	<-s.closed
	_ = s.master.Close()
}

func (s *screen) resize(rows, columns uint16) {
	s.Helper()
	s.must(unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
}

// enter types, and waits until the screen shows something after it.
func (s *screen) enter(keys, until string) {
	s.Helper()
	before := len(s.shown())
	_, err := s.master.WriteString(keys)
	s.must(err)
	s.wait(before, until)
}

func (s *screen) wait(from int, until string) {
	s.Helper()
	defer func() {
		if s.Failed() {
			s.Logf("the screen shows %q", s.shown())
		}
	}()
	s.eventually("the screen shows "+until, func() bool { return strings.Contains(s.shown()[from:], until) })
}

// interruptSleep asserts that Ctrl-C ends what the shell runs, not the shell.
//
// What runs says so itself. "echo waiting; sleep 1000" does not: the shell says it
// before it forks, and until the child has made itself the terminal's foreground
// process group (tcsetpgrp(3)) Ctrl-C is the shell's, which waits for sleep all the same.
func (s *screen) interruptSleep() {
	s.Helper()
	s.enter("sh -c \"echo wai''ting; exec sleep 1000\"\n", "waiting\r\n")
	s.enter("\x03", "/ # ")
}

func (s *screen) shown() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.text.String()
}

func TestAShellAtATerminal(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	s := newScreen(b)
	before, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	b.must(err)

	cmd := b.command("run", "--bundle", b.dir, "box")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	b.must(cmd.Start())
	s.wait(0, "/ # ")
	s.enter("stty size\n", "33 91\r\n")
	s.resize(20, 50)
	// The size follows a moment later: SIGWINCH, then an ioctl.
	s.enter("until [ \"$(stty size)\" = '20 50' ]; do :; done; echo re''sized\n", "resized\r\n")
	s.interruptSleep()
	s.enter("tty\n", "/dev/pts/0") // a name of the container's own /dev/pts
	_, err = s.master.WriteString("exit 3\n")
	b.must(err)
	_ = cmd.Wait() // the status says it
	if status := cmd.ProcessState.ExitCode(); status != 3 {
		t.Errorf("status %d, want 3; the screen shows\n%s", status, s.shown())
	}
	after, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	b.must(err)
	if *after != *before {
		t.Error("the terminal was not put back as it was")
	}
	s.close()
	b.wantNothing()
}

// create hands the terminal to whoever listens at --console-socket.
func TestTheConsoleSocketGetsTheTerminal(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t)
	socket := filepath.Join(t.TempDir(), "console")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	b.must(err)
	defer listener.Close()
	b.succeed("create", "--bundle", b.dir, "--console-socket", socket, "box")
	s := watch(b, receive(b, listener))
	b.succeed("start", "box")
	s.wait(0, "/ # ")
	s.enter("echo $((6 * 7)); exit\n", "42\r\n")
	s.close()
	b.eventually("it has stopped", func() bool { return b.status("box") == "stopped" })
	b.succeed("delete", "box")
	b.wantNothing()
}

// receive takes a descriptor from a connection: SCM_RIGHTS in unix(7).
func receive(b *bundle, listener *net.UnixListener) *os.File {
	b.Helper()
	conn, err := listener.AcceptUnix()
	b.must(err)
	defer conn.Close()
	name, control := make([]byte, 100), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, control)
	b.must(err)
	messages, err := unix.ParseSocketControlMessage(control[:n])
	b.must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	b.must(err)
	return os.NewFile(uintptr(fds[0]), "master")
}

// Go's runtime tells how many processors it has: GODEBUG=schedtrace, package runtime. Two
// are enough for a program that waits, and a terminal needs one for each direction.
func TestATerminalHasProcessors(t *testing.T) {
	testkit.HostUnchanged(t)
	for terminal, want := range map[bool]string{false: "gomaxprocs=2 ", true: "gomaxprocs=4 "} {
		b := newBundle(t, program("sleep", "0.3"), func(s *specs.Spec) { s.Process.Terminal = terminal })
		cmd := b.command("run", "--bundle", b.dir, "box")
		cmd.Env = append(os.Environ(), "GODEBUG=schedtrace=50")
		r := b.finish(cmd)
		traces := strings.Split(strings.TrimSpace(r.err), "\n")
		if last := traces[len(traces)-1]; r.status != 0 || !strings.Contains(last, want) {
			t.Errorf("terminal %v: status %d, no %q in %q", terminal, r.status, want, last)
		}
	}
}
