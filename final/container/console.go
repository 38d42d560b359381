package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The caller's side of a terminal: carrying bytes to and from the container's,
// and the caller's own terminal in raw mode meanwhile: termios(3), tty_ioctl(4).

// connect carries bytes between the caller's terminal and the container's
// until the container has closed its end; the returned function waits for
// that and puts the caller's terminal back as it was. Where the caller has no
// terminal, as in a pipe, bytes are carried all the same.
func connect(master *os.File) (wait func() error, err error) {
	TolerateClosedPipe()
	runtime.GOMAXPROCS(max(processors, runtime.GOMAXPROCS(0)))
	restore, err := rawMode()
	if err != nil {
		return nil, err
	}
	stopResizing := followSize(master)
	// Nobody waits for this one: it ends with the process, or when stdin does.
	go func() {
		_, _ = io.Copy(master, os.Stdin) // fails when the container is gone, which is how it ends
		for {
			if _, err := master.Write([]byte{endOfTransmission}); err != nil {
				return
			}
			time.Sleep(endAgain)
		}
	}()
	drained := make(chan error, 1)
	go func() {
		_, err := io.Copy(os.Stdout, master)
		drained <- err
	}()
	return func() error {
		err := <-drained
		stopResizing()
		// EIO is how a master reads that no slave is open any more: pty(7).
		if errors.Is(err, unix.EIO) {
			err = nil
		}
		return errors.Join(err, restore())
	}, nil
}

// processors are what Go needs of them for a terminal: one for each goroutine that waits
// in a system call, which are the two directions and whoever waits for the container, and
// one for who has something to do. With fewer, the others wait until Go's runtime has
// looked which calls take long, up to 10 ms (sysmon and retake in runtime/proc.go), and
// a key takes as long to come back.
const processors = 4

// endOfTransmission is Ctrl-D: what a terminal sends at the end of input. A
// file that has ended stays ended; a terminal tells it once, and a program
// that changes the terminal's mode at that moment, as shells do when they
// start, never hears of it. So it is sent again, after endAgain.
const (
	endOfTransmission = 4
	endAgain          = 100 * time.Millisecond
)

// rawMode makes the caller's terminal pass every key on, Ctrl-C too: the
// container's terminal turns it into a signal for the container.
func rawMode() (restore func() error, err error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return func() error { return nil }, nil
	}
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	return func() error { return term.Restore(fd, before) }, nil
}

// followSize gives the container's terminal the size of the caller's, now and
// whenever that changes (SIGWINCH).
func followSize(master *os.File) (stop func()) {
	resize := func() {
		if size, err := unix.IoctlGetWinsize(int(os.Stdin.Fd()), unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size) // a wrong size is no reason to stop
		}
	}
	resize()
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		for range changed {
			resize()
		}
	}()
	return func() { signal.Stop(changed); close(changed) }
}
