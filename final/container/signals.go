package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/final/selfpipe"
	"skiff.example/stage02-namespaces/launch"
)

// The signals that a runtime gets while it runs a container: signal(7).

// forwarded are the signals that are passed on to the container: those that
// people and service managers send. All others are for this process: its
// children, its timers, its terminal, the Go scheduler's.
var forwarded = []syscall.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGTSTP,
}

// Signals are what this process gets for the container that it runs.
type Signals struct{ pipe pipe }

// A pipe is where they come from.
type pipe interface {
	Descriptor() int                 // to be read when poll(2) says so
	Read() ([]syscall.Signal, error) // does not wait
	Close() error
}

// CatchSignals makes none of them end this process any more. Only one can do so at a time,
// and nobody else in this process hears of them.
func CatchSignals() (*Signals, error) {
	pipe, err := selfpipe.Catch(forwarded...)
	if err != nil {
		return nil, err
	}
	return &Signals{pipe}, nil
}

// ShareSignals is CatchSignals for a program in which others want to hear of them as
// well, with package os/signal. It takes longer: that has threads.
func ShareSignals() (*Signals, error) {
	pipe, err := selfpipe.Notify(forwarded...)
	if err != nil {
		return nil, err
	}
	return &Signals{pipe}, nil
}

// Close makes the signals do again what they did before.
func (s *Signals) Close() error { return s.pipe.Close() }

// waitFor waits until a process has ended, and hands the signals to it meanwhile. That
// one could not be handed over is a warning.
func (s *Signals) waitFor(process *launch.Process, hand func(syscall.Signal) error, warn io.Writer) error {
	wait := []unix.PollFd{
		{Fd: int32(process.Pidfd().Fd()), Events: unix.POLLIN},
		{Fd: int32(s.pipe.Descriptor()), Events: unix.POLLIN},
	}
	for wait[0].Revents == 0 {
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d and for signals: %w", process.Pid, err)
		}
		signals, err := s.pipe.Read()
		if err != nil {
			return err
		}
		for _, signal := range signals {
			if err := hand(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
				fmt.Fprintln(warn, "warning:", err)
			}
		}
	}
	return nil
}

// TolerateClosedPipe makes it an error like others to write to standard output or
// standard error when nobody reads there any more. Left alone, it ends a program of Go
// (package os/signal, "SIGPIPE"), which leaves the container's things behind. It is for
// those that do write while there is a container: it starts threads.
func TolerateClosedPipe() {
	tolerated.Do(func() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) })
}

var tolerated sync.Once
