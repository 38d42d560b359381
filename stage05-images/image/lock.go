package image

// Locks between processes: flock(2). The kernel drops a lock when the last
// descriptor of its open file is closed, so a killed process never leaves one.
// A lock belongs to the open file, not to the process: two goroutines that
// each open the file exclude each other as two processes do.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is the pause between two attempts. flock(2) could wait in the
// kernel, but then nothing could interrupt the wait when a context ends.
const lockPoll = 10 * time.Millisecond

// lock takes the store's own lock, which is held for short times only: to
// change index.json, to register a writer in tmp/, to pick what to collect.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	return lockFile(ctx, s.path("lock"))
}

// Hold keeps Collect and the repairs of Check from removing anything until
// release is called, or this process has ended. It is for who has found an image
// and is about to use it, or reads blobs: a lease, which any number of processes
// hold at once.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	return lockHow(ctx, s.path("held"), unix.LOCK_SH)
}

// lockFile waits until it holds an exclusive lock on the file at path, which
// it creates.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	return lockHow(ctx, path, unix.LOCK_EX)
}

// lockHow is lockFile for either kind of lock, LOCK_EX or LOCK_SH.
func lockHow(ctx context.Context, path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		locked, err := tryHow(f, how)
		if locked {
			return func() { f.Close() }, nil
		}
		if err == nil {
			err = pause(ctx, lockPoll)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
	}
}

// tryLock takes an exclusive lock on f; false says that another has it.
func tryLock(f *os.File) (bool, error) { return tryHow(f, unix.LOCK_EX) }

// tryHow is tryLock for either kind of lock.
func tryHow(f *os.File, how int) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, err
		}
	}
}

// pause waits for d, or until ctx ends, whose cause it then returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
