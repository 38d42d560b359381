package container

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// run: make, start, wait, unmake in one. The signals that this process gets
// meanwhile are the container's: signal(7), and for a first process pid_namespaces(7).

// Run makes a container, waits until its program has ended, unmakes the
// container, and returns the exit status as a shell gives it: the program's
// own, or 128 and the signal that ended it. observe, if not nil, sees the
// plan and its timings before they are gone.
func (r *Runtime) Run(config Config, observe func(*plan.Plan, []launch.Timing)) (status int, err error) {
	if config.Spec.Process == nil {
		return 0, errors.New("process is missing: there is nothing to run")
	}
	signals := config.Signals
	if signals == nil {
		signals = CatchSignals()
		defer signals.stop()
	}
	<-signals.caught
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
	drained, err := c.connectTerminal()
	if err != nil {
		return 0, err
	}
	if err := c.begin(before); err != nil {
		return 0, errors.Join(c.why(err), c.process.Kill(), drained())
	}
	if observe != nil {
		observe(c.plan, c.process.Times())
	}
	status, err = c.wait(signals)
	return status, errors.Join(err, drained())
}

// wait waits for the end of the first process, and passes signals on meanwhile.
func (c *Container) wait(signals *Signals) (status int, err error) {
	ended := make(chan struct{})
	go c.forward(signals.got, ended)
	end, err := c.process.Wait()
	close(ended)
	c.warnOfEnd(end)
	return exitStatus(end), err
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
	if err := c.process.Started(); err != nil {
		return err
	}
	if err := c.announce(); err != nil || c.state.Started {
		return err
	}
	c.state.Started = true
	if err := c.state.write(c.dir); err != nil {
		return err
	}
	return c.state.poststart()
}

// connectTerminal carries the terminal's bytes, if the container has one.
func (c *Container) connectTerminal() (wait func() error, err error) {
	if c.terminal == nil {
		return func() error { return nil }, nil
	}
	return connect(c.terminal.master)
}

// forward passes the signals that this process gets on to the container.
func (c *Container) forward(signals <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			c.deliver(s.(syscall.Signal))
		}
	}
}

// deliver sends one signal. To the first process of a pid namespace the
// kernel delivers only what it handles (pid_namespaces(7)); so that Ctrl-C
// ends `sleep` as well, a signal that means "end" and is not handled becomes
// SIGKILL.
func (c *Container) deliver(s syscall.Signal) {
	ends := s == unix.SIGINT || s == unix.SIGTERM || s == unix.SIGHUP || s == unix.SIGQUIT
	if ends && !handles(c.process.Pid, s) {
		s = unix.SIGKILL
	}
	if err := c.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		fmt.Fprintln(c.config.Warn, "warning:", err)
	}
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
