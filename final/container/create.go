package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
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
	config.Spec = oci.WithProcess(config.Spec)
	if config.Spec.Process.Terminal && config.ConsoleSocket == "" {
		return errors.New("process.terminal is set: create needs --console-socket")
	}
	ready, err := newMilestone("ready for start")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ready.Close()) }()
	var fifo *os.File
	c, err := r.make(config, false, func(c *Container) (b beginning, err error) {
		if fifo, b.report, err = c.startFiles(); err != nil {
			return b, err
		}
		b.steps = append(ready.steps(),
			plan.ReadByte(plan.Descriptor{Number: int(fifo.Fd()), Name: "start"}, startByte).Doing("wait for start"))
		return b, nil
	})
	if err != nil {
		return errors.Join(err, closeFile(&fifo))
	}
	if err := c.becomeCreated(ready); err != nil {
		return errors.Join(c.why(err), c.destroy(), closeFile(&fifo))
	}
	return errors.Join(c.release(), closeFile(&fifo))
}

// startByte is what Start sends.
const startByte = 's'

// startFiles makes the FIFO at which the process waits, and the file in which
// it reports. The FIFO is opened for reading and writing, so that the process
// does not read end of file when this one ends: fifo(7).
func (c *Container) startFiles() (fifo, report *os.File, err error) {
	name := filepath.Join(c.dir, makingFile)
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

// becomeCreated waits until the process waits for start, hands its terminal to whom
// --console-socket names, and gives the FIFO the name by which the container is
// known as created.
func (c *Container) becomeCreated(ready *milestone) error {
	if err := errors.Join(c.writePlan(), ready.wait(c.process)); err != nil {
		return err
	}
	if err := c.announce("standard"); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(c.dir, makingFile), filepath.Join(c.dir, startFile)); err != nil {
		return fmt.Errorf("name the FIFO: %w", err)
	}
	return nil
}

// writePlan writes down the steps from the wait for start on, a line a step: what the
// step does, the call, the chapter and the heading, between tabs. Start reads in it
// which step has failed. Those before are lines with nothing in them unless somebody
// wants to know their times: to say all takes as long as to do it.
func (c *Container) writePlan() error {
	var b strings.Builder
	begun := c.config.Timed
	for _, s := range c.plan.Steps() {
		if begun = begun || s.Section == oci.WaitForStart; begun {
			fmt.Fprintf(&b, "%s\t%s\t%d\t%s", s.What(), s, s.Chapter, s.Section)
		}
		b.WriteByte('\n')
	}
	if err := os.WriteFile(filepath.Join(c.dir, planFile), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// release lets go of a created container: its process stays.
func (c *Container) release() error {
	return errors.Join(c.close(), c.journal.Close(), closeFile(&c.lock))
}

// Start lets a created container's program begin. It returns when the
// program runs, or with the step that failed. Hooks of the container that come
// before the program, and of the host that come after, belong to it: when one
// fails, the container is ended and unmade.
func (r *Runtime) Start(id string) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	if state.Status != specs.StateCreated {
		return fmt.Errorf("start container %q: it is %s, not created", id, state.Status)
	}
	if state.Hooks != nil && len(state.Hooks.StartContainer) > 0 { // which join the container
		if err := Protect(); err != nil {
			return err
		}
	}
	if state.NoProcess {
		return hint.Add(fmt.Errorf("start container %q: its configuration has no process", id), "say in config.json which command to run")
	}
	// Of two who start it at the same moment, the second finds nobody at the FIFO.
	held, err := flock(dir, unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	defer held.Close()
	if err := r.start(dir, state); err != nil {
		return fmt.Errorf("start container %q: %w", id, err)
	}
	return nil
}

// start is Start for who holds the lock.
func (r *Runtime) start(dir string, state *State) error {
	fifo, err := os.OpenFile(filepath.Join(dir, startFile), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return errors.New("it has been started before, or has ended")
	}
	if err != nil {
		return err
	}
	defer fifo.Close()
	if err := state.startHooks(dir); err != nil {
		return errors.Join(err, r.end(dir, state))
	}
	if _, err := fifo.Write([]byte{startByte}); err != nil {
		return err
	}
	if err := waitForNoReader(fifo); err != nil {
		return err
	}
	if err := reportedFailure(dir, state); err != nil {
		return err
	}
	state.Started = true
	if err := state.write(dir); err != nil {
		return err
	}
	if err := state.poststart(); err != nil {
		return errors.Join(err, r.end(dir, state))
	}
	return nil
}

// end kills the container's process and unmakes the container, for who holds its
// lock.
func (r *Runtime) end(dir string, state *State) error {
	if err := kill(dir, state); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	waitUntilGone(state.Pid)
	return r.unmakeLocked(dir, state)
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
func reportedFailure(dir string, state *State) error {
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
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	line := "a step"
	if step >= 0 && step < len(lines) {
		line = lines[step]
	}
	return startError(dir, state, line, errno, fmt.Sprintf("(step %d of %d)", step+1, len(lines)))
}
