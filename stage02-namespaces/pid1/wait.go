package pid1

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Waiting for every process that is or becomes a child of this one: wait4(2).

// wait reaps children until the program has ended, and returns how it did.
// Orphans that have ended by then are reaped as well; for those that end later,
// the kernel or the next reaper sees to it.
func wait(program child, signals *signals, t *terminal) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for process %d: %w", program.pid, err)
		case pid != program.pid: // an orphan
		case status.Stopped():
			if err := stopped(program, status.StopSignal(), signals, t); err != nil {
				return 0, err
			}
		default:
			return status, reapTheDead()
		}
	}
}

// reapTheDead reaps children that have ended, and waits for none.
func reapTheDead() error {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD) || err == nil && pid == 0:
			return nil
		case err != nil:
			return fmt.Errorf("wait for orphans: %w", err)
		}
	}
}

// stopped is what follows when the program has stopped, by Ctrl-Z for example:
// this process stops as well, so that the shell whose job it is gets its prompt
// back; and when the shell continues the job, so does the program.
//
// Whether there is such a shell the kernel knows best. In a process group
// without one (an "orphaned" group, setpgid(2)), and in process 1, SIGTSTP does
// nothing; then the program goes on at once, because nobody could continue it.
// SIGSTOP is somebody's, a debugger's for example, who will continue it.
func stopped(program child, by unix.Signal, s *signals, t *terminal) error {
	if by == unix.SIGSTOP {
		return nil
	}
	return s.paused(func() error {
		if err := stopThisProcess(); err != nil {
			return err
		}
		if err := t.give(program.pid); err != nil {
			return err
		}
		if err := unix.Kill(-program.pid, unix.SIGCONT); err != nil {
			return fmt.Errorf("continue process group %d: %w", program.pid, err)
		}
		return nil
	})
}

// stopThisProcess stops this process with SIGTSTP, which has no handler, and
// returns when it is continued. The signal is for this very thread, because
// only such a one is certain to stop it before the system call returns. Where
// this process is not a job of its own, but one of several in a shell's job,
// it does not stop: it would stop alone, and the others would wait for it.
func stopThisProcess() error {
	if unix.Getpgrp() != os.Getpid() {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGTSTP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
