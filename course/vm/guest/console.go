package main

// This file runs a job on the machine's console, the first serial port,
// ttyS(4): a shell for somebody who sits in front of it. It is the job's
// controlling terminal, so that Ctrl-C becomes a signal: ioctl_tty(2),
// TIOCSCTTY.

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
)

// waitOnConsole starts a job on the console and waits until it ends.
func waitOnConsole(job wire.Job) (int, error) {
	console, err := os.OpenFile("/dev/ttyS0", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, err
	}
	defer console.Close()
	// A serial line knows nothing of the size of what is at its other end.
	size := &unix.Winsize{Row: job.Terminal.Rows, Col: job.Terminal.Columns}
	if err := unix.IoctlSetWinsize(int(console.Fd()), unix.TIOCSWINSZ, size); err != nil {
		return 0, fmt.Errorf("set the size of %q: %w", console.Name(), err)
	}
	process, err := os.StartProcess(job.Args[0], job.Args, &os.ProcAttr{
		Dir: job.Dir, Env: job.Env,
		Files: []*os.File{console, console, console},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return 0, err
	}
	return reapUntil(process.Pid)
}
