package pid1

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Who is in the foreground of the terminal: the process group that may read
// from it, and that gets SIGINT at Ctrl-C. See tcsetpgrp(3), tty_ioctl(4) and
// credentials(7), "Sessions".

// terminal is the controlling terminal of this process.
type terminal struct {
	fd    int // 0, 1 or 2; -1 when there is none
	group int // this process's group
}

// findTerminal looks for the controlling terminal behind the three standard
// descriptors. On any other file, and on a terminal of another session,
// TIOCGPGRP fails.
func findTerminal() *terminal {
	t := &terminal{fd: -1, group: unix.Getpgrp()}
	for fd := range 3 {
		if _, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil {
			t.fd = fd
			break
		}
	}
	return t
}

// foreground is the group in the foreground; 0 when there is none, or none
// that has a number in this pid namespace.
func (t *terminal) foreground() int {
	if t.fd < 0 {
		return 0
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return 0 // the terminal has hung up
	}
	return group
}

// ours tells whether this process's group is in the foreground. A job in the
// background must not take the terminal. In a new pid namespace without a new
// session the group has no number either (0): then it cannot be told.
func (t *terminal) ours() bool { return t.group != 0 && t.foreground() == t.group }

// give puts a process group into the foreground, in place of our own.
func (t *terminal) give(group int) error {
	if !t.ours() {
		return nil
	}
	return SetForeground(t.fd, group)
}

// takeBack puts our own group into the foreground, where the program's group
// or one that is no more stands there: whoever has started us wants to go on
// reading. Another group's turn, the shell's for example, is not ended.
func (t *terminal) takeBack(program int) error {
	group := t.foreground()
	if group == 0 || group == t.group {
		return nil
	}
	if group != program && !errors.Is(unix.Kill(-group, 0), unix.ESRCH) {
		return nil
	}
	return SetForeground(t.fd, t.group)
}

// SetForeground puts a process group into the foreground of the terminal fd:
// tcsetpgrp(3). A group in the background that calls it gets SIGTTOU, unless the
// calling thread blocks that, as it does here.
func SetForeground(fd, group int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	block, before := unix.Sigset_t{}, unix.Sigset_t{}
	block.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before); err != nil {
		return fmt.Errorf("block SIGTTOU: %w", err)
	}
	err := unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group)
	if err != nil {
		err = fmt.Errorf("put process group %d into the foreground of the terminal: %w", group, err)
	}
	return errors.Join(err, unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
}
