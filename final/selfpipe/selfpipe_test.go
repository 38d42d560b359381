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

// pipe is what signals come through.
type pipe interface {
	Descriptor() int
	Read() ([]syscall.Signal, error)
}

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

// wait waits for signals.
func wait(t *testing.T, c pipe) {
	t.Helper()
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(c.Descriptor()), Events: unix.POLLIN}}, int((10 * time.Second).Milliseconds()))
	}
	if n != 1 || err != nil {
		t.Fatalf("no signal came: %v", err)
	}
}

// next waits for signals, and reads them.
func next(t *testing.T, c pipe) []syscall.Signal {
	t.Helper()
	wait(t, c)
	signals, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	return signals
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

// What the last one has not read is not for the next one.
func TestSignalsThatNobodyReads(t *testing.T) {
	c, err := selfpipe.Catch(unix.SIGUSR1)
	if err != nil {
		t.Fatal(err)
	}
	send(t, unix.SIGUSR1)
	wait(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := catch(t, unix.SIGUSR2).Read(); len(got) > 0 || err != nil {
		t.Errorf("got %v, %v, want nothing", got, err)
	}
}

// Who starts a program may have blocked signals for himself, and the program has that from
// him.
func TestSignalsThatAreBlocked(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set, before := unix.Sigset_t{}, unix.Sigset_t{}
	set.Val[0] = 1 << (unix.SIGUSR1 - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
			t.Error(err)
		}
	}()
	c := catch(t, unix.SIGUSR1)
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got := next(t, c); !slices.Equal(got, []syscall.Signal{unix.SIGUSR1}) {
		t.Errorf("got %v", got)
	}
}

// With os/signal behind it, several hear of a signal.
func TestNotify(t *testing.T) {
	all := make(chan os.Signal, 10)
	signal.Notify(all, unix.SIGUSR1, unix.SIGTSTP)
	defer signal.Stop(all)
	var pipes []pipe
	for range 2 {
		n, err := selfpipe.Notify(unix.SIGUSR1, unix.SIGTSTP)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		pipes = append(pipes, n)
	}
	for _, s := range []syscall.Signal{unix.SIGUSR1, unix.SIGTSTP} {
		send(t, s)
		for i, n := range pipes {
			if got := next(t, n); !slices.Equal(got, []syscall.Signal{s}) {
				t.Errorf("pipe %d: got %v, want %v", i, got, s)
			}
		}
		if got := <-all; got != s {
			t.Errorf("got %v, want %v", got, s)
		}
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
	c := catch(t, unix.SIGUSR1, unix.SIGUSR2)
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
	if n := len(next(t, c)); n < pipeSize { // one may still be on its way to another thread
		t.Errorf("%d signals were in the pipe, want %d", n, pipeSize)
	}
	send(t, unix.SIGUSR2)
	for !slices.Contains(next(t, c), unix.SIGUSR2) {
	}
}
