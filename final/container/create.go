package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// create and start: a container that is made by one command and begun by another.
// Between the two its process waits at a FIFO (fifo(7)), which also tells start
// when the program runs. runtime-spec runtime.md, "Lifecycle".

// Create makes a container up to the point where only its program is missing,
// and leaves it waiting for Start. It returns when the container has come so
// far; what fails before is an error of Create.
func (r *Runtime) Create(config Config) (err error) {
	if config.Spec.Process.Terminal && config.ConsoleSocket == "" {
		return errors.New("process.terminal is set: create needs --console-socket")
	}
	ready, done, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer ready.Close()
	defer done.Close()
	var fifo *os.File
	c, err := r.make(config, false, func(c *Container) (b beginning, err error) {
		if fifo, b.report, err = c.startFiles(); err != nil {
			return b, err
		}
		end := plan.Descriptor{Number: int(done.Fd()), Name: "ready"}
		b.steps = []plan.Step{
			plan.Write(end, "r").Doing("tell create that all is ready"),
			plan.Close(end).Doing("tell create that all is ready"),
			plan.ReadByte(plan.Descriptor{Number: int(fifo.Fd()), Name: "start"}, startByte).Doing("wait for start"),
		}
		return b, nil
	})
	if err != nil {
		return err
	}
	defer fifo.Close()
	if err := errors.Join(done.Close(), c.becomeCreated(ready)); err != nil {
		return errors.Join(err, c.destroy())
	}
	return c.release()
}

// startByte is what Start sends.
const startByte = 's'

// startFiles makes the FIFO at which the process waits, and the file in which
// it reports. The FIFO is opened for reading and writing, so that the process
// does not read end of file when this one ends: fifo(7).
func (c *Container) startFiles() (fifo, report *os.File, err error) {
	name := filepath.Join(c.dir, startFile)
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return nil, nil, fmt.Errorf("make FIFO %q: %w", name, err)
	}
	if fifo, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
		return nil, nil, fmt.Errorf("open FIFO: %w", err)
	}
	report, err = os.OpenFile(filepath.Join(c.dir, reportFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make report: %w", err), fifo.Close())
	}
	return fifo, report, nil
}

// becomeCreated waits until the process waits for start, and hands its
// terminal to whom --console-socket names.
func (c *Container) becomeCreated(ready io.Reader) error {
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		if err := c.process.Started(); err != nil {
			return err
		}
		return fmt.Errorf("the container's process has ended: %w", err)
	}
	if c.terminal != nil {
		if err := sendTerminal(c.config.ConsoleSocket, c.terminal.master); err != nil {
			return err
		}
	}
	return c.writePlan()
}

// writePlan writes the plan down, a line a step: what the step does, a tab,
// the call. Start reads in it which step has failed.
func (c *Container) writePlan() error {
	var b strings.Builder
	for _, s := range c.plan.Steps() {
		fmt.Fprintf(&b, "%s\t%s\n", s.What(), s)
	}
	if err := os.WriteFile(filepath.Join(c.dir, planFile), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// release lets go of a created container: its process stays.
func (c *Container) release() error {
	return errors.Join(c.terminal.Close(), c.process.Close(), c.journal.Close(), closeFile(&c.lock))
}

// sendTerminal sends a terminal's master over the unix socket at path:
// SCM_RIGHTS in unix(7). The message is the terminal's name, as in runc.
func sendTerminal(path string, master *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("connect to console socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to console socket %q: %w", path, err)
	}
	if err := unix.Sendmsg(fd, []byte(master.Name()), unix.UnixRights(int(master.Fd())), nil, 0); err != nil {
		return fmt.Errorf("send the terminal to %q: %w", path, err)
	}
	return nil
}

// Start lets a created container's program begin. It returns when the
// program runs, or with the step that failed.
func (r *Runtime) Start(id string) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	if state.Status != "created" {
		return fmt.Errorf("start container %q: it is %s, not created", id, state.Status)
	}
	fifo, err := os.OpenFile(filepath.Join(dir, startFile), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("start container %q: it has been started before, or has ended", id)
	}
	if err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	defer fifo.Close()
	if _, err := fifo.Write([]byte{startByte}); err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	if err := waitForNoReader(fifo); err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	if err := reportedFailure(dir); err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	state.Started = true
	return state.write(dir)
}

// waitForNoReader waits until the process has no longer opened the FIFO: it
// was closed by execve(2), or the process has ended. poll(2) says so at the
// writing end with POLLERR.
func waitForNoReader(fifo *os.File) error {
	for {
		fds := []unix.PollFd{{Fd: int32(fifo.Fd())}}
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for its program: %w", err)
		default:
			return nil
		}
	}
}

// reportedFailure reads how far the process came in its plan.
func reportedFailure(dir string) error {
	report, err := os.Open(filepath.Join(dir, reportFile))
	if err != nil {
		return err
	}
	defer report.Close()
	step, errno, err := launch.ReadReport(report)
	if err != nil || errno == 0 {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, planFile))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	what := "a step"
	if step < len(lines) {
		what, _, _ = strings.Cut(lines[step], "\t")
	}
	return fmt.Errorf("%s: %w (step %d of %d)", what, errno, step+1, len(lines))
}
