// Freezing: stopping every process of a group at once, unseen by the processes
// (admin-guide/cgroup-v1/freezer-subsystem, admin-guide/cgroup-v2
// cgroup.freeze).
//
// The two versions differ where it hurts. A process frozen by v2 can still be
// killed. One frozen by v1 is stuck in the kernel: not even SIGKILL ends it
// before it is thawed. So v2 freezes wherever there is a v2 hierarchy, hybrid
// machines included, and whatever is to be killed is thawed as well.

package cgroup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// freezeTimeout bounds how long Freeze waits. A process in an uninterruptible
// sleep, for a disk or a dead NFS server, freezes only when it wakes up.
const freezeTimeout = 5 * time.Second

// Freeze stops all processes of the group and the groups below it, and returns
// when they stand. If they do not within five seconds, they are thawed again
// and the error is ETIMEDOUT. Freezing a frozen group is fine.
func (m *Manager) Freeze() error {
	err := m.freeze()
	if errors.Is(err, unix.ETIMEDOUT) {
		err = hint.Add(err, "a process of the group may be in an uninterruptible sleep: look for state D in ps")
		return errors.Join(err, m.Thaw())
	}
	return err
}

func (m *Manager) freeze() error {
	if m.v2 != nil {
		return freezeV2(m.v2.dir)
	}
	dir, ok := m.v1Dir("freezer")
	if !ok {
		return m.noController("freezer")
	}
	return freezeV1(dir)
}

// freezeV2 asks for it and waits until cgroup.events says "frozen 1": poll(2)
// returns when the file has changed since it was read.
func freezeV2(dir string) error {
	if err := write(dir, "cgroup.freeze", "1"); err != nil {
		return err
	}
	fd, err := unix.Open(dir+"/cgroup.events", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cgroup: open %q: %w", dir+"/cgroup.events", err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 512)
	for deadline := time.Now().Add(freezeTimeout); ; {
		n, err := unix.Pread(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("cgroup: read %q: %w", dir+"/cgroup.events", err)
		}
		if numbers(string(buf[:n]))["frozen"] == 1 {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("cgroup: freeze %q: %w", dir, unix.ETIMEDOUT)
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("cgroup: poll %q: %w", dir+"/cgroup.events", err)
		}
	}
}

// freezeV1 writes FROZEN until the state is no longer FREEZING: reading is
// what makes the kernel look whether all stand, and a process that was born
// meanwhile is caught by writing again. Nothing tells when it is done.
func freezeV1(dir string) error {
	deadline := time.Now().Add(freezeTimeout)
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 10*time.Millisecond) {
		if err := write(dir, "freezer.state", "FROZEN"); err != nil {
			return err
		}
		state, err := read(dir, "freezer.state")
		if err != nil || state == "FROZEN" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup: freeze %q: %w", dir, unix.ETIMEDOUT)
		}
		time.Sleep(pause)
	}
}

// Thaw lets the processes of the group go on, whichever version froze them.
// Thawing a group that is not frozen is fine.
func (m *Manager) Thaw() error {
	var failed []error
	if dir, ok := m.v1Dir("freezer"); ok {
		failed = append(failed, write(dir, "freezer.state", "THAWED"))
	}
	if m.v2 != nil {
		failed = append(failed, write(m.v2.dir, "cgroup.freeze", "0"))
	}
	return errors.Join(failed...)
}

// Frozen reports whether the group, or a group above it, is frozen or about to
// be, by whichever version and whoever did it. A group that does not exist, or
// cannot be read, is not.
func (m *Manager) Frozen() bool {
	for _, dir := range m.dirs() {
		if frozen(dir) {
			return true
		}
	}
	return false
}

// frozen reports whether the group dir, of any version, is frozen.
func frozen(dir string) bool {
	if state, err := readAll(dir + "/freezer.state"); err == nil {
		return strings.TrimSpace(state) != "THAWED"
	}
	if asked, err := readAll(dir + "/cgroup.freeze"); err == nil && strings.TrimSpace(asked) == "1" {
		return true
	}
	events, err := readAll(dir + "/cgroup.events")
	return err == nil && numbers(events)["frozen"] == 1
}

// thawTree thaws dir, of any version, and the groups below it: a container may
// have frozen a group of its own.
func thawTree(dir string) error {
	return walk(dir, func(group int) error {
		for _, s := range [...]setting{to("freezer.state", "THAWED"), to("cgroup.freeze", "0")} {
			if err := writeAt(group, s.file, s.value); err != nil && !errNotThere(err) {
				return err
			}
		}
		return nil
	}, nil)
}
