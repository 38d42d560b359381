package vm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm"
	"skiff.example/stage01-chroot/testkit"
)

// shellTime is how long everything together may take: building, booting, typing.
const shellTime = 60 * time.Second

// typist sits at the other end of a terminal.
type typist struct {
	*testing.T
	master, slave *os.File

	mu   sync.Mutex
	seen []byte
}

// sit makes a pseudoterminal and reads what is written on it: pty(7).
func sit(t *testing.T) *typist {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &typist{T: t, master: master, slave: slave}
	read := make(chan struct{})
	t.Cleanup(func() { // the master reads EIO when nobody has the slave open
		slave.Close()
		<-read
		master.Close()
	})
	go func() {
		defer close(read)
		for buffer := make([]byte, 4096); ; {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.seen = append(s.seen, buffer[:n]...)
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// waitFor waits until the text has been seen, and forgets all up to there.
func (s *typist) waitFor(ctx context.Context, text string) {
	s.Helper()
	for ; ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		before, after, found := bytes.Cut(s.seen, []byte(text))
		if found {
			s.seen = after
		}
		screen := string(before)
		s.mu.Unlock()
		if found {
			return
		}
		if ctx.Err() != nil {
			s.Fatalf("%q is not on the screen:\n%s", text, screen)
		}
	}
}

// types presses keys.
func (s *typist) types(keys string) {
	s.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.Fatal(err)
	}
}

func (s *typist) settings() unix.Termios {
	s.Helper()
	settings, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		s.Fatal(err)
	}
	return *settings
}

// Ctrl-C interrupts what runs in the machine, and neither the machine nor us;
// Ctrl-D ends the shell, and the terminal is as it was.
func TestAShellToTypeIn(t *testing.T) {
	t.Setenv("TERM", "dumb") // nothing but the text on the screen
	testkit.Need(t, "qemu-system-x86_64", "apt-get", "dpkg-deb", "bash", "mke2fs")
	s := sit(t)
	if err := unix.IoctlSetWinsize(int(s.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}); err != nil {
		t.Fatal(err)
	}
	before := s.settings()
	ctx, end := context.WithTimeout(t.Context(), shellTime)
	defer end()
	ended := make(chan error, 1)
	go func() {
		defer end()
		ended <- vm.Shell(ctx, "../..", cache(t), s.slave)
	}()
	const prompt = "vm:/tmp# "
	s.waitFor(ctx, prompt)
	s.types("stat -f -c %T /sys/fs/cgroup; stty size; df . | grep -c loop; type -P stage0{1,2,3}\r")
	for _, line := range []string{"cgroup2fs", "33 99", "1", "/usr/local/bin/stage01", "/usr/local/bin/stage02", "/usr/local/bin/stage03"} {
		s.waitFor(ctx, "\r\n"+line)
	}
	s.waitFor(ctx, prompt)
	s.types("sh -c 'echo $((6 * 7)); sleep 1000'\r")
	s.waitFor(ctx, "\r\n42\r\n")
	s.types("\x03")
	s.waitFor(ctx, prompt)
	s.types("echo status $?\r")
	s.waitFor(ctx, "\r\nstatus 130\r\n")
	s.waitFor(ctx, prompt)
	s.types("\x04")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if after := s.settings(); after != before {
		t.Errorf("the terminal was\n%+v, and is\n%+v", before, after)
	}
}

// Who ends it from outside has a terminal as before, too.
func TestAShellThatIsEnded(t *testing.T) {
	t.Setenv("TERM", "dumb")
	testkit.Need(t, "qemu-system-x86_64", "apt-get", "dpkg-deb", "bash", "mke2fs")
	s := sit(t)
	before := s.settings()
	ctx, end := context.WithTimeout(t.Context(), shellTime)
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- vm.Shell(ctx, "../..", cache(t), s.slave) }()
	s.waitFor(ctx, "vm:/tmp# ")
	end()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "while the shell ran") {
		t.Errorf("the error is: %v", err)
	}
	if after := s.settings(); after != before {
		t.Errorf("the terminal was\n%+v, and is\n%+v", before, after)
	}
	flags, err := unix.FcntlInt(s.slave.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#o, error %v: reading does not wait any more", flags, err)
	}
}

func TestAShellNeedsATerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	err = vm.Shell(t.Context(), "../..", cache(t), null)
	if !errors.Is(err, unix.ENOTTY) || !strings.Contains(err.Error(), `terminal "/dev/null"`) {
		t.Errorf("the error is: %v", err)
	}
}
