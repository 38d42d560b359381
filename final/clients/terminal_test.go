package clients

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A screen is a terminal (pty(7)) with a command of a client on it. The test
// sits in front of it: it types, and reads what is shown.
type screen struct {
	*client
	cmd    *exec.Cmd
	master *os.File
	mutex  sync.Mutex
	text   bytes.Buffer
	closed chan struct{}
}

// A size is that of a terminal, in characters.
type size struct{ rows, columns uint16 }

var firstSize, otherSize = size{33, 91}, size{20, 50}

// atTerminal starts a command of the client at a terminal of the first size.
func (c *client) atTerminal(args ...string) *screen {
	c.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	c.must(err)
	c.must(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		c.Fatal(errno)
	}
	slave := os.NewFile(fd, "slave")
	defer slave.Close()
	s := &screen{client: c, cmd: c.command(args...), master: master, closed: make(chan struct{})}
	s.resize(firstSize)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr.Setsid, s.cmd.SysProcAttr.Setctty = true, true
	c.must(s.cmd.Start())
	go s.watch()
	c.Cleanup(func() { // without a status the test has failed on its way
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			s.end()
		}
	})
	return s
}

// watch reads what is shown until nobody has the terminal open any more. Only
// some clients turn off what the terminal itself makes of the end of a line,
// so that there are one or two carriage returns: there is none here.
func (s *screen) watch() {
	defer close(s.closed)
	part := make([]byte, 4096)
	for {
		n, err := s.master.Read(part)
		s.mutex.Lock()
		s.text.Write(bytes.ReplaceAll(part[:n], []byte("\r"), nil))
		s.mutex.Unlock()
		if err != nil {
			return // EIO
		}
	}
}

func (s *screen) shown() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.text.String()
}

func (s *screen) resize(to size) {
	s.Helper()
	s.must(unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: to.rows, Col: to.columns}))
}

func (s *screen) enter(keys string) {
	s.Helper()
	_, err := s.master.WriteString(keys)
	s.must(err)
}

// expect waits until the screen shows this, and forgets all up to it.
func (s *screen) expect(text string) {
	s.Helper()
	found := func() bool {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		before, _, is := strings.Cut(s.text.String(), text)
		if is {
			s.text.Next(len(before) + len(text))
		}
		return is
	}
	defer func() {
		if s.Failed() {
			s.Logf("the screen shows %q", s.shown())
		}
	}()
	s.eventually("the screen shows "+text, found)
}

// end waits for the command's end and gives the terminal up.
func (s *screen) end() (status int) {
	s.Helper()
	_ = s.cmd.Wait() // the status says it
	<-s.closed
	_ = s.master.Close()
	return s.cmd.ProcessState.ExitCode()
}

func (s *screen) wantEnd(status int) {
	s.Helper()
	if got := s.end(); got != status {
		s.Errorf("%s: status %d, want %d; the screen shows\n%s", strings.Join(s.cmd.Args, " "), got, status, s.shown())
	}
}

// wantShell asserts that a shell in a container is at the terminal, with its
// size, also when that changes, and its keys; and has it exit with status 3.
func (s *screen) wantShell(sizes ...size) {
	s.Helper()
	s.expect("/ # ")
	for i, size := range append([]size{firstSize}, sizes...) {
		if i > 0 {
			s.resize(size)
		}
		// It follows a moment later: SIGWINCH to the client, then an ioctl.
		s.enter(fmt.Sprintf("until [ \"$(stty size)\" = '%d %d' ]; do :; done; echo si''zed\n", size.rows, size.columns))
		s.expect("sized\n")
	}
	s.enter("sh -c \"echo wai''ting; exec sleep 1000\"\n")
	s.expect("waiting\n")
	s.enter("\x03") // Ctrl-C ends sleep, not the shell
	s.expect("/ # ")
	s.enter("tty; exit 3\n")
	s.expect("/dev/pts/") // a name of the container's own /dev/pts
}
