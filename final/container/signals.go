package container

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// The signals that a runtime gets while it runs a container: signal(7).

// forwarded are the signals that are passed on to the container: those that
// people and service managers send. All others are for this process: its
// children, its timers, its terminal, the Go scheduler's.
var forwarded = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGTSTP,
}

// Signals are what this process gets for the container that it runs.
type Signals struct {
	got    chan os.Signal
	caught chan struct{} // closed when no signal ends this process any more
}

// CatchSignals begins to catch. It returns at once: the Go runtime takes half
// a millisecond, in which the caller can do what leaves nothing behind, such
// as read the configuration. Run waits for it.
func CatchSignals() *Signals {
	s := &Signals{got: make(chan os.Signal, 16), caught: make(chan struct{})}
	go func() {
		signal.Notify(s.got, forwarded...)
		// Caught, writing to a closed pipe is an error like others. Left alone
		// it would end this process and leave the container's things behind.
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
		close(s.caught)
	}()
	return s
}

// stop makes the signals do again what they did before.
func (s *Signals) stop() { signal.Stop(s.got) }
