package main

// This file is the way back to the host: the second serial port, ttyS(4), on
// which events go out, and the jobs whose output becomes events.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/course/vm/wire"
)

// linger is how long output is still read when a job has ended: a process that
// it left behind may hold the pipe open for ever.
const linger = time.Second

// host is the other end of the serial port.
type host struct {
	mu      sync.Mutex
	port    *os.File
	encoder *json.Encoder
}

// openHost opens the port as a line that carries bytes as they are: cfmakeraw
// of termios(3), as far as it is about output.
func openHost() (*host, error) {
	file, err := os.OpenFile("/dev/ttyS1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	termios, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("get the settings of %q: %w", file.Name(), err)
	}
	termios.Oflag &^= unix.OPOST
	termios.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(file.Fd()), unix.TCSETS, termios); err != nil {
		return nil, fmt.Errorf("set %q to raw: %w", file.Name(), err)
	}
	return &host{port: file, encoder: json.NewEncoder(file)}, nil
}

// say sends an event.
func (h *host) say(e wire.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.encoder.Encode(e)
}

// drain waits until all has been sent, which powering off does not:
// tcdrain(3).
func (h *host) drain() error {
	return os.NewSyscallError("tcdrain", unix.IoctlSetInt(int(h.port.Fd()), unix.TCSBRK, 1))
}

// run does a job and reports its output and its end. The error is for a host
// that cannot be reached; a job that fails is an event.
func (h *host) run(job wire.Job) error {
	if err := h.say(wire.Event{Job: job.Name}); err != nil {
		return err
	}
	begin := time.Now()
	status, err := h.wait(job)
	end := wire.Event{Job: job.Name, Ended: true, Status: status, Seconds: time.Since(begin).Seconds()}
	if err != nil {
		end.Status, end.Error = 127, err.Error()
	}
	return h.say(end)
}

// wait starts a job and reports what it writes until it ends.
func (h *host) wait(job wire.Job) (int, error) {
	if job.Terminal != nil {
		return waitOnConsole(job)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, errors.Join(err, w.Close())
	}
	process, err := os.StartProcess(job.Args[0], job.Args, &os.ProcAttr{
		Dir: job.Dir, Env: job.Env,
		Files: []*os.File{null, w, w},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	null.Close()
	w.Close()
	if err != nil {
		return 0, err
	}
	said := make(chan error, 1)
	go func() { said <- h.forward(job.Name, r) }()
	status, err := reapUntil(process.Pid)
	err = errors.Join(err, r.SetReadDeadline(time.Now().Add(linger)))
	return status, errors.Join(err, <-said)
}

// forward turns output into events until it ends, or its time is up.
func (h *host) forward(name string, output *os.File) error {
	buffer := make([]byte, 4096)
	for {
		n, err := output.Read(buffer)
		if n > 0 {
			if err := h.say(wire.Event{Job: name, Output: buffer[:n]}); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // io.EOF, or os.ErrDeadlineExceeded
		}
	}
}

// reapUntil waits until the process has ended, and meanwhile for every orphan
// that has, as the first process must: wait(2), "if a parent process
// terminates, then its zombie children are adopted by init". The status is a
// shell's.
func reapUntil(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		switch ended, err := unix.Wait4(-1, &status, 0, nil); {
		case err == unix.EINTR || err == nil && ended != pid:
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		default:
			return status.ExitStatus(), nil
		}
	}
}
