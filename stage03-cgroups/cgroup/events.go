// Memory events: hearing at once that a group met its limit, or that a process
// of it was killed for that, instead of asking again and again.
//
// v2: memory.events changes, and poll(2) on it returns POLLPRI (admin-guide/
// cgroup-v2, "memory.events"). It does not return when the group is removed, so
// inotify(7) tells which groups beside this one, or this one, went.
//
// v1: an eventfd(2) is registered by writing its number and that of
// memory.oom_control to cgroup.event_control (admin-guide/cgroup-v1/memory, "OOM
// Control"); the kernel adds one to it each time that it finds nothing to free,
// and also when the group is removed.

package cgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// WatchMemory calls changed with the counters of the group as they are now, and
// then each time that they have changed, until the context ends (its error is
// returned) or the group is removed (nil). Several changes in quick succession
// may come as one. On v1, OOM counts from the beginning of the watch.
//
// It blocks; start it in a goroutine. changed is not called after the return.
func (m *Manager) WatchMemory(ctx context.Context, changed func(MemoryEvents)) error {
	w, err := m.memoryWatch()
	if err != nil {
		return err
	}
	defer w.close()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("cgroup: eventfd: %w", err)
	}
	defer unix.Close(wake)
	// The write happens before the return, or never: so never to another's
	// descriptor with the same number.
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = signal(wake) // an eventfd takes 2^64 − 1 of them
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	return w.loop(ctx, wake, changed)
}

// memoryWatch is what there is to wait for, in one version or the other.
type memoryWatch struct {
	dir    string
	fd     int   // what to poll
	events int16 // for what
	// What stays open as long as it is watched; v1: memory.oom_control, v2: an
	// inotify that becomes readable when a group beside this one, or this one,
	// is removed.
	beside int
	v1     bool
	read   func(dir string) (MemoryEvents, error)
	// take reads what poll announced, so that it returns the next time only for
	// something new. n is how often the kernel ran out of memory; v1 alone knows.
	take func(fd int) (n uint64, err error)
}

func (m *Manager) memoryWatch() (*memoryWatch, error) {
	if dir, ok := m.v1Dir("memory"); ok {
		return watchV1(dir)
	}
	if m.v2 == nil {
		return nil, m.noController("memory")
	}
	if err := m.enable("memory"); err != nil {
		return nil, err
	}
	fd, err := unix.Open(m.v2.dir+"/memory.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open %q: %w", m.v2.dir+"/memory.events", err)
	}
	beside, err := watchRemovals(path.Dir(m.v2.dir))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	take := func(fd int) (uint64, error) {
		_, err := unix.Pread(fd, make([]byte, 4096), 0)
		return 0, err
	}
	return &memoryWatch{m.v2.dir, fd, unix.POLLPRI, beside, false, readMemoryEventsV2, take}, nil
}

// watchRemovals returns an inotify of the groups that are removed in dir.
// (Watching the group itself does not do: its inode keeps its links, and
// inotify never says IN_DELETE_SELF.)
func watchRemovals(dir string) (int, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("cgroup: inotify_init1: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cgroup: inotify_add_watch %q: %w", dir, err)
	}
	return fd, nil
}

// watchV1 registers an eventfd. It ends with the descriptor.
func watchV1(dir string) (*memoryWatch, error) {
	file, err := unix.Open(dir+"/memory.oom_control", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open %q: %w", dir+"/memory.oom_control", err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(file)
		return nil, fmt.Errorf("cgroup: eventfd: %w", err)
	}
	take := func(fd int) (uint64, error) {
		var n [8]byte
		_, err := unix.Read(fd, n[:])
		return binary.NativeEndian.Uint64(n[:]), err
	}
	w := &memoryWatch{dir, fd, unix.POLLIN, file, true, readMemoryEventsV1, take}
	if err := write(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, file)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *memoryWatch) close() {
	unix.Close(w.fd)
	unix.Close(w.beside)
}

// v1 says that it is about to kill, and counts the kill a moment later: for so
// long after each event, the counters are read again. Where the kill ends the
// container, the group may be gone before: of its end the runtime tells.
const (
	rereadEvery = time.Millisecond
	rereadFor   = 200 * time.Millisecond
)

// loop tells the counters whenever they changed. wake becomes readable when the
// context has ended.
func (w *memoryWatch) loop(ctx context.Context, wake int, changed func(MemoryEvents)) error {
	var oom uint64
	var reread time.Time // until when
	first := true
	for last := (MemoryEvents{}); ; {
		now, err := w.read(w.dir)
		if errNotThere(err) {
			return nil // removed
		}
		if err != nil {
			return err
		}
		now.OOM += oom
		if first || now != last {
			changed(now)
		}
		first, last = false, now

		timeout := -1
		if w.v1 && time.Now().Before(reread) {
			timeout = int(rereadEvery.Milliseconds())
		}
		n, err := w.wait(wake, timeout)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errNotThere(err):
			return nil
		case err != nil:
			return err
		case n > 0:
			oom += n
			reread = time.Now().Add(rereadFor)
		}
	}
}

// wait blocks until there is something new, or the time, in milliseconds, is
// up.
func (w *memoryWatch) wait(wake, timeout int) (n uint64, err error) {
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: w.events}, {Fd: int32(wake), Events: unix.POLLIN}}
	if !w.v1 {
		fds = append(fds, unix.PollFd{Fd: int32(w.beside), Events: unix.POLLIN})
	}
	if _, err := unix.Poll(fds, timeout); err != nil && err != unix.EINTR {
		return 0, fmt.Errorf("cgroup: poll: %w", err)
	}
	if !w.v1 && fds[2].Revents != 0 {
		// Whichever group it was: the counters are read next, or are gone.
		if _, err := unix.Read(w.beside, make([]byte, 4096)); err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return 0, fmt.Errorf("cgroup: read inotify: %w", err)
		}
	}
	if fds[0].Revents == 0 {
		return 0, nil
	}
	n, err = w.take(w.fd)
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return n, err
}

// signal makes an eventfd readable.
func signal(fd int) error {
	_, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
	return err
}
