// Memory events: hearing at once that a group met its limit, or that a process
// of it was killed for that, instead of asking again and again.
//
// v2: memory.events changes, which inotify(7) tells (admin-guide/cgroup-v2,
// "memory.events": a file modified event). It also tells which groups beside this
// one, or this one, were removed.
//
// v1: an eventfd(2) is registered by writing its number and that of
// memory.oom_control to cgroup.event_control (admin-guide/cgroup-v1/memory, "OOM
// Control"); the kernel adds one to it each time that it finds nothing to free,
// and also when the group is removed.

package cgroup

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
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
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	err = w.loop(changed)
	return cmp.Or(ctx.Err(), err)
}

// memoryWatch is what there is to wait for, in one version or the other.
type memoryWatch struct {
	dir        string
	news       *os.File // can be read when something has happened: an inotify, or v1's eventfd
	oomControl *os.File // v1: memory.oom_control, open as long as it is watched
	read       func(dir string) (MemoryEvents, error)
}

// close ends the watch, and a loop that waits. Twice is fine.
func (w *memoryWatch) close() {
	w.news.Close()
	w.oomControl.Close()
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
	return watchV2(m.v2.dir)
}

// watchV2 watches the file, and the groups beside this one: the group's own inode
// keeps its links when it is removed, and inotify never says IN_DELETE_SELF.
func watchV2(dir string) (*memoryWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cgroup: inotify_init1: %w", err)
	}
	w := &memoryWatch{dir: dir, news: os.NewFile(uintptr(fd), "inotify"), read: readMemoryEventsV2}
	for place, event := range map[string]uint32{dir + "/memory.events": unix.IN_MODIFY, path.Dir(dir): unix.IN_DELETE | unix.IN_ONLYDIR} {
		if _, err := unix.InotifyAddWatch(fd, place, event); err != nil {
			w.close()
			return nil, fmt.Errorf("cgroup: inotify_add_watch %q: %w", place, err)
		}
	}
	return w, nil
}

// watchV1 registers an eventfd. It ends with the descriptor.
func watchV1(dir string) (*memoryWatch, error) {
	file, err := os.Open(dir + "/memory.oom_control")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cgroup: eventfd: %w", err)
	}
	w := &memoryWatch{dir, os.NewFile(uintptr(fd), "eventfd"), file, readMemoryEventsV1}
	if err := write(dir, "cgroup.event_control", fmt.Sprintf("%d %d", fd, file.Fd())); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// v1 says that it is about to kill, and counts the kill a moment later, or on a busy
// machine seconds later: for so long after each event, the counters are read again, at
// first soon and then less and less often. Where the kill ends the container, the
// group may be gone before: of its end the runtime tells.
const (
	rereadFirst = time.Millisecond
	rereadFor   = 10 * time.Second
)

// loop tells the counters whenever they changed, until the group is gone, or the
// watch is closed.
func (w *memoryWatch) loop(changed func(MemoryEvents)) error {
	var last MemoryEvents
	var oom uint64      // how often the kernel ran out of memory: v1 tells, and does not count
	var event time.Time // the last one of v1
	news := make([]byte, 4096)
	for first := true; ; first = false {
		now, err := w.read(w.dir)
		if errNotThere(err) {
			return nil
		}
		if err != nil {
			return err
		}
		now.OOM += oom
		if first || now != last {
			changed(now)
		}
		last = now

		var deadline time.Time // none
		if since := time.Since(event); since < rereadFor {
			deadline = time.Now().Add(max(rereadFirst, since/8))
		}
		err = w.news.SetReadDeadline(deadline)
		if err == nil {
			_, err = w.news.Read(news)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			return fmt.Errorf("cgroup: wait for memory events: %w", err)
		case w.oomControl != nil:
			oom += binary.NativeEndian.Uint64(news)
			event = time.Now()
		}
	}
}
