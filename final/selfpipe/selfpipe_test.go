package selfpipe_test

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/final/selfpipe"
)

// catch catches until the test's end.
func catch(t *testing.T, signals ...syscall.Signal) *selfpipe.Caught {
	t.Helper()
	c, err := selfpipe.Catch(signals...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// send sends this process a signal.
func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := unix.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

// next waits for signals.
func next(t *testing.T, c *selfpipe.Caught) []syscall.Signal {
	t.Helper()
	for {
		wait := []unix.PollFd{{Fd: int32(c.Descriptor()), Events: unix.POLLIN}}
		switch n, err := unix.Poll(wait, int((10 * time.Second).Milliseconds())); {
		case err == unix.EINTR:
			continue
		case err != nil:
			t.Fatal(err)
		case n == 0:
			t.Fatal("no signal came")
		}
		signals, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		return signals
	}
}

// Each signal comes as itself, and none comes when none was sent.
func TestSignalsCome(t *testing.T) {
	all := []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGTSTP}
	c := catch(t, all...)
	for _, s := range all {
		send(t, s)
		if got := next(t, c); !slices.Equal(got, []syscall.Signal{s}) {
			t.Errorf("got %v, want %v", got, s)
		}
	}
	if got, err := c.Read(); len(got) > 0 || err != nil {
		t.Errorf("got %v, %v, want nothing", got, err)
	}
}

// Who had the signal before has it afterwards.
func TestSignalsGoBack(t *testing.T) {
	before := make(chan os.Signal, 10)
	signal.Notify(before, unix.SIGUSR1)
	defer signal.Stop(before)
	c, err := selfpipe.Catch(unix.SIGUSR1)
	if err != nil {
		t.Fatal(err)
	}
	send(t, unix.SIGUSR1)
	if got := next(t, c); !slices.Equal(got, []syscall.Signal{unix.SIGUSR1}) || len(before) > 0 {
		t.Errorf("got %v, and Go %d signals", got, len(before))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	send(t, unix.SIGUSR1)
	select {
	case <-before:
	case <-time.After(10 * time.Second):
		t.Error("the signal did not come to whom it came before")
	}
}

func TestOnlyOneCatches(t *testing.T) {
	first := catch(t, unix.SIGUSR1)
	if second, err := selfpipe.Catch(unix.SIGUSR2); err == nil {
		t.Errorf("%v and %v", first, second)
	}
}

// A signal that cannot be caught is an error, and those before it are as they were.
func TestCatchFails(t *testing.T) {
	if _, err := selfpipe.Catch(unix.SIGUSR1, unix.SIGKILL); err == nil {
		t.Fatal("SIGKILL is caught")
	}
	catch(t, unix.SIGUSR1)
}

// Signals come while all threads are busy, in Go's code, in its allocator and collector,
// and on stacks that move.
func TestSignalsWhileGoIsBusy(t *testing.T) {
	c := catch(t, unix.SIGUSR1, unix.SIGUSR2)
	var busy sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = deep(100, make([]byte, 10_000))
					runtime.GC()
				}
			}
		})
	}
	defer busy.Wait()
	defer close(done)
	for range 3000 {
		send(t, unix.SIGUSR1)
		if got := next(t, c); !slices.Equal(got, []syscall.Signal{unix.SIGUSR1}) {
			t.Fatalf("got %v", got)
		}
	}
}

// deep uses so much of the stack that it moves.
func deep(n int, b []byte) int {
	var frame [512]byte
	if n == 0 {
		return len(b)
	}
	frame[n%len(frame)] = byte(n)
	return deep(n-1, b) + int(frame[0])
}

// When nobody reads, no handler waits, and later signals come again.
func TestNobodyReads(t *testing.T) {
	c := catch(t, unix.SIGUSR1)
	const pipeSize = 64 << 10 // pipe(7)
	var inPipe int
	for more := 1000; inPipe < pipeSize || more > 0; { // some signals become one on their way
		send(t, unix.SIGUSR1)
		var err error
		if inPipe, err = unix.IoctlGetInt(c.Descriptor(), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		}
		if inPipe == pipeSize {
			more--
		}
	}
	if n := len(next(t, c)); n != pipeSize {
		t.Errorf("%d signals were in the pipe, want %d", n, pipeSize)
	}
	send(t, unix.SIGUSR1)
	if n := len(next(t, c)); n != 1 {
		t.Errorf("then %d", n)
	}
}
