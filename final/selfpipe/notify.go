package selfpipe

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signals through a pipe, with os/signal behind it: for a program in which others want to
// hear of them, too.

// Notified are signals that come through a pipe of their own, and to whoever else has asked
// os/signal for them.
type Notified struct {
	ends [2]int // where they are read and written
	got  chan os.Signal
	done chan struct{} // closed when nobody writes any more
}

// Notify makes signals come through a pipe. Several can do so at a time.
func Notify(signals ...syscall.Signal) (*Notified, error) {
	n := &Notified{got: make(chan os.Signal, 16), done: make(chan struct{})}
	if err := unix.Pipe2(n.ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make a pipe for signals: %w", err)
	}
	for _, s := range signals {
		signal.Notify(n.got, s)
	}
	go func() {
		defer close(n.done)
		for s := range n.got {
			_, _ = unix.Write(n.ends[1], []byte{byte(s.(syscall.Signal))}) // if nobody reads, the pipe fills, see handler
		}
	}()
	return n, nil
}

// Descriptor is the end to wait at, with poll(2).
func (n *Notified) Descriptor() int { return n.ends[0] }

// Read returns the signals that have come, in order, and does not wait.
func (n *Notified) Read() ([]syscall.Signal, error) { return read(n.ends[0]) }

// Close ends that.
func (n *Notified) Close() error {
	signal.Stop(n.got)
	close(n.got)
	<-n.done
	return errors.Join(unix.Close(n.ends[0]), unix.Close(n.ends[1]))
}
