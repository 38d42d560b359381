package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// What a container's first process and those that exec brings in have in common on
// their way: who hears of them, their terminal, the plan, the signals for them.

// Options are what a new process gets that its configuration does not say.
type Options struct {
	PidFile         string    // where to write the process's id, or ""
	PidfdSocket     string    // where to send a pidfd of the process, or ""
	ConsoleSocket   string    // where to send the terminal's master, or ""
	KeepDescriptors int       // how many descriptors from 3 on the program inherits
	Warn            io.Writer // where warnings go
	Signals         *Signals  // what is passed on; nil: they are caught until the end

	Timed   bool                              // measure the steps
	Observe func(*plan.Plan, []launch.Timing) // if not nil, sees them with their times, of Run and Exec
}

// A newcomer is a process on its way into a container.
type newcomer struct {
	options  Options
	terminal *terminal
	listener *listener
	planned  *oci.Container // holds what the plan needs open, until the process is there
	plan     *plan.Plan
	process  *launch.Process
}

// makePlan computes the plan of what is planned, and passes its warnings on.
func (n *newcomer) makePlan(compute func() (*plan.Plan, []string, error)) (err error) {
	n.planned.Terminal, n.planned.KeepDescriptors = n.terminal.forPlan(), n.options.KeepDescriptors
	if n.listener, err = newListener(n.planned.Spec); err != nil {
		return err
	}
	n.planned.Handover = n.listener.forPlan()
	p, warnings, err := compute()
	if err != nil {
		return err
	}
	n.plan = p
	for _, w := range warnings {
		fmt.Fprintln(n.options.Warn, "warning:", w)
	}
	return nil
}

// started waits until the program runs, or has failed to, and shows the steps up to
// there.
func (n *newcomer) started() error {
	err := n.process.Started()
	if n.options.Observe != nil {
		n.options.Observe(n.plan, n.process.Times())
	}
	return err
}

// announce tells who is to know of the process: the sockets that get the terminal and
// a pidfd, with a message of runc's, and the pid file. That comes last, so that an
// error leaves none behind.
func (n *newcomer) announce(message string) error {
	if n.terminal != nil && n.options.ConsoleSocket != "" {
		if err := sendTerminal(n.options.ConsoleSocket, n.terminal.master); err != nil {
			return err
		}
	}
	if n.options.PidfdSocket != "" {
		if err := sendFile(n.options.PidfdSocket, message, n.process.Pidfd()); err != nil {
			return err
		}
	}
	if n.options.PidFile != "" {
		return writePidFile(n.options.PidFile, n.process.Pid)
	}
	return nil
}

// attach carries the bytes of the terminal, if there is one; drained waits for the
// last of them.
func (n *newcomer) attach() (drained func() error, err error) {
	if n.terminal == nil {
		return func() error { return nil }, nil
	}
	return connect(n.terminal.master)
}

// caught returns what the process's signals come from, when no signal ends this
// process any more.
func (o Options) caught() (signals *Signals, stop func() error, err error) {
	if o.Signals != nil {
		return o.Signals, func() error { return nil }, nil
	}
	signals, err = CatchSignals()
	if err != nil {
		return nil, nil, err
	}
	return signals, signals.Close, nil
}

// wait waits for the process's end, and hands it the signals meanwhile. After an error the
// process has ended, too.
func (n *newcomer) wait(signals *Signals, hand func(syscall.Signal) error) (unix.WaitStatus, error) {
	if err := signals.waitFor(n.process, hand, n.options.Warn); err != nil {
		return 0, errors.Join(err, n.process.Kill())
	}
	return n.process.Wait()
}

// close gives back what this process holds of it.
func (n *newcomer) close() error {
	errs := []error{n.terminal.Close(), n.listener.Close()}
	if n.process != nil {
		errs = append(errs, n.process.Close())
		n.process = nil
	}
	return errors.Join(errs...)
}

// writePidFile writes a process's id: into a new file that then takes the name,
// so that who waits for the file never reads half of it.
func writePidFile(name string, pid int) error {
	f, err := os.CreateTemp(path.Dir(name), "."+path.Base(name)+"-*") // new, and no link: O_EXCL
	if err != nil {
		return fmt.Errorf("write pid file: %w", &os.PathError{Op: "create", Path: name, Err: errors.Unwrap(err)})
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write pid file: %w", err), os.Remove(f.Name()))
	}
	return nil
}
