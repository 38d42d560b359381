package pid1

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Passing signals on to the program: signal(7), pidfd_send_signal(2).

// kept are the signals that are not passed on.
var kept = []unix.Signal{
	unix.SIGKILL, unix.SIGSTOP, // nobody can catch them
	unix.SIGCHLD,              // tells of our own children
	unix.SIGURG, unix.SIGPROF, // Go's runtime has them for its scheduler and its profiler
	unix.SIGTTIN, unix.SIGTTOU, // the terminal sends them to whom they concern
	unix.SIGTSTP, // see stopThisProcess; what Go has caught once never stops it again
}

// lastSignal is the highest number of a signal. Those from 32 to 34 cannot be
// caught in Go, because C libraries use them for their threads.
const lastSignal = 64

// signals are those that have come and wait to be passed on.
type signals struct {
	incoming chan os.Signal
	sending  sync.Mutex // held while one is sent, or none may be
	errs     []error
}

// listen catches every signal that can be passed on. One that this process was
// born ignoring (nohup(1) does that for SIGHUP) stays ignored, here and in the
// program. Faults of this process itself, a real SIGSEGV, still end it: Go's
// runtime tells them apart from those that somebody has sent.
func listen() *signals {
	// Room for a burst: Go drops signals for which there is none.
	s := &signals{incoming: make(chan os.Signal, 2*lastSignal)}
	for n := unix.Signal(1); n <= lastSignal; n++ {
		if !slices.Contains(kept, n) && !signal.Ignored(n) {
			signal.Notify(s.incoming, n)
		}
	}
	return s
}

// forwardTo passes on what has come, and what will come until stop.
func (s *signals) forwardTo(program child) {
	go func() {
		defer unix.Close(program.pidfd)
		for received := range s.incoming {
			s.forward(program, received.(unix.Signal))
		}
	}()
}

// forward sends one. That the program has just ended is no error: wait is
// about to say so.
func (s *signals) forward(program child, n unix.Signal) {
	s.sending.Lock()
	defer s.sending.Unlock()
	err := unix.PidfdSendSignal(program.pidfd, n, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		s.errs = append(s.errs, fmt.Errorf("pass %v on to process %d: %w", unix.SignalName(n), program.pid, err))
	}
}

// failures are the signals that could not be sent, for lack of permission for
// example, since a program may become another user.
func (s *signals) failures() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return errors.Join(s.errs...)
}

// stop ends the catching of signals, and the goroutine of forwardTo.
func (s *signals) stop() {
	signal.Stop(s.incoming)
	close(s.incoming)
}

// paused calls stopAndContinue while nothing is passed on: the SIGCONT of fg
// must reach the program only after it has got the terminal, or the terminal
// would stop it again.
func (s *signals) paused(stopAndContinue func() error) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return stopAndContinue()
}
