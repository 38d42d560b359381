package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// run: make, start, wait, unmake in one. The signals that this process gets
// meanwhile are the container's: signal(7), and for a first process pid_namespaces(7).

// Run makes a container, waits until its program has ended, unmakes the
// container, and returns the exit status as a shell gives it: the program's
// own, or 128 and the signal that ended it.
func (r *Runtime) Run(config Config) (status int, err error) {
	if config.Spec.Process == nil {
		return 0, errors.New("process is missing: there is nothing to run")
	}
	if err := Protect(); err != nil { // first: a signal that is caught would be lost
		return 0, err
	}
	signals, release, err := config.caught()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	var before *stop // nil: the program begins at once
	c, err := r.make(config, true, func(*Container) (b beginning, err error) {
		if h := config.Spec.Hooks; h != nil && len(h.StartContainer) > 0 {
			before, err = newStop("ready for start")
		}
		b.steps = before.steps()
		return b, err
	})
	defer func() { err = errors.Join(err, before.Close()) }()
	if err != nil {
		return 0, err
	}
	defer func() {
		if config.Keep && err == nil {
			err = c.release()
		} else {
			err = errors.Join(err, c.destroy())
		}
	}()
	drained, err := c.attach()
	if err != nil {
		return 0, err
	}
	if err := c.begin(before); err != nil {
		return 0, errors.Join(c.why(err), c.process.Kill(), drained())
	}
	end, err := c.wait(signals, c.deliver)
	c.warnOfEnd(end)
	status, err = exitStatus(end), errors.Join(err, drained())
	if config.Ended != nil && status == 0 && err == nil {
		err = config.Ended()
	}
	return status, err
}

// begin lets the program begin, and runs the hooks before and after.
func (c *Container) begin(before *stop) error {
	if before != nil {
		if err := before.wait(c.process); err != nil {
			return err
		}
		if err := c.state.startHooks(c.dir); err != nil {
			return err
		}
		if err := before.gate.Open(); err != nil {
			return err
		}
	}
	if err := c.started(); err != nil {
		return err
	}
	if err := c.announce("standard"); err != nil || c.state.Started {
		return err
	}
	c.state.Started = true
	if err := c.state.write(c.dir); err != nil {
		return err
	}
	return c.state.poststart()
}

// deliver sends one signal. To the first process of a pid namespace the
// kernel delivers only what it handles (pid_namespaces(7)); so that Ctrl-C
// ends `sleep` as well, a signal that means "end" and is not handled becomes
// SIGKILL.
func (c *Container) deliver(s syscall.Signal) error {
	ends := s == unix.SIGINT || s == unix.SIGTERM || s == unix.SIGHUP || s == unix.SIGQUIT
	if ends && !handles(c.process.Pid, s) {
		s = unix.SIGKILL
	}
	return c.process.Signal(s)
}

// handles tells whether a process catches or ignores a signal: SigCgt and
// SigIgn in proc(5), /proc/PID/status. A process that cannot be looked at
// counts as one that does.
func handles(pid int, s syscall.Signal) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigCgt" && name != "SigIgn" {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil || mask&(1<<(s-1)) != 0 {
			return true
		}
	}
	return false
}

// exitStatus is how a shell says it: sh(1).
func exitStatus(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
