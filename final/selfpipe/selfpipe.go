// Package selfpipe hears of signals through a pipe to the process itself.
//
// A signal comes between any two instructions, and its handler may do almost nothing
// (signal-safety(7)). One thing that it may is write(2). So a classical handler writes
// the signal's number into a pipe, and the program waits for that as it waits for all
// else, with poll(2).
//
// Go's package os/signal has goroutines for that, which start threads, and each signal
// that is asked for has two of them wait for each other (ensureSigM in
// runtime/signal_unix.go). That is a part of the life of a runtime that only waits for a
// container. What Go's runtime does
// with signals of its own goes on: handlers that are not Go's may be installed if they run
// on the stack that it has made for handlers (package os/signal, "Go programs that use cgo
// or SWIG").
package selfpipe

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	busy sync.Mutex // held by who catches
	pipe int32      // where the handler writes: fds[1]
	fds  [2]int     // both ends, which stay: a handler may run when nobody wants it any more
)

// Caught are signals that come through the pipe.
type Caught struct{ before map[syscall.Signal]action }

// Catch makes signals come through the pipe instead of what they did, also those that who
// started this program has blocked. Only one can do so at a time: there is one process,
// and so one handler for each signal.
func Catch(signals ...syscall.Signal) (*Caught, error) {
	if !busy.TryLock() {
		return nil, errors.New("signals are caught already")
	}
	c := &Caught{before: map[syscall.Signal]action{}}
	err := makePipe()
	handler, restorer := handlers()
	own := action{handler: handler, flags: saRestart | saOnStack | saRestorer, restorer: restorer, mask: ^uint64(0)}
	for i := 0; i < len(signals) && err == nil; i++ {
		var before action
		if before, err = act(signals[i], &own); err == nil {
			c.before[signals[i]] = before
		}
	}
	if err == nil {
		err = unblock(signals)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// unblock lets this thread have the signals: one is enough, signal(7). As with os/signal,
// it keeps them.
func unblock(signals []syscall.Signal) error {
	var set unix.Sigset_t
	for _, s := range signals {
		set.Val[0] |= 1 << (s - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil); err != nil {
		return fmt.Errorf("unblock signals: %w", err)
	}
	return nil
}

// makePipe makes the pipe, the first time, and later empties it: what is in it was for
// another. Who catches holds busy.
func makePipe() error {
	if pipe != 0 {
		_, err := read(fds[0])
		return err
	}
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("make the pipe for signals: %w", err)
	}
	pipe = int32(fds[1])
	return nil
}

// Descriptor is the end to wait at, with poll(2). It is nobody's to close.
func (c *Caught) Descriptor() int { return fds[0] }

// Read returns the signals that have come, in order, and does not wait.
func (c *Caught) Read() ([]syscall.Signal, error) { return read(fds[0]) }

// read empties a pipe.
func read(fd int) (signals []syscall.Signal, err error) {
	for {
		var numbers [64]byte
		n, err := unix.Read(fd, numbers[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return signals, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return signals, fmt.Errorf("read from the pipe for signals: %w", err)
		}
		for _, number := range numbers[:n] {
			signals = append(signals, syscall.Signal(number))
		}
	}
}

// Close makes the signals do again what they did before. Those that nobody has read are
// forgotten.
func (c *Caught) Close() error {
	var errs []error
	for s, before := range c.before {
		_, err := act(s, &before)
		errs = append(errs, err)
	}
	busy.Unlock()
	return errors.Join(errs...)
}

// action is struct sigaction of the kernel, which is not the C library's:
// include/linux/signal_types.h.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// Flags of sigaction(2). The handler runs on the stack of sigaltstack(2), and calls that
// it interrupts go on where they can.
const (
	saRestart = 0x10000000
	saOnStack = 0x08000000
)

// act is rt_sigaction(2).
func act(s syscall.Signal, now *action) (before action, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(now)), uintptr(unsafe.Pointer(&before)),
		unsafe.Sizeof(now.mask), 0, 0)
	if errno != 0 {
		return before, fmt.Errorf("catch %s: %w", unix.SignalName(s), errno)
	}
	return before, nil
}

// handlers are the addresses of the two functions that the kernel calls.
func handlers() (handler, restorer uintptr)
