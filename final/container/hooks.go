package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

// Hooks: programs that others run at six moments of a container's life, with its
// state on their standard input. runtime-spec config.md, "POSIX-platform Hooks",
// and runtime.md, "Lifecycle".
//
//	prestart         of the host, before pivot_root; once the only kind there was
//	createRuntime    of the host, before pivot_root
//	createContainer  of the host, in the container's namespaces, before pivot_root
//	startContainer   of the container, in it, right before its program
//	poststart        of the host, when the program runs
//	poststop         of the host, when the container is gone
//
// Before pivot_root the container's process waits at a stop; before its program it
// waits for start anyway. What runs in the container is a process of its own, which
// joins it by setns(2), and not a child of the one that waits: that has no other
// thread to look at the clock.

// A stage is one of these moments.
type stage struct {
	kind  string
	hooks []specs.Hook
	state specs.State // what the hooks read
	warn  io.Writer   // where failures go; nil: the first one ends the stage

	container oci.Container // whose namespaces and groups they join; Spec is that of hooks of the container
	born      *os.File      // its group of cgroup v2
	dir       string        // where hooks of the host start
}

// run runs the hooks, one after another.
func (s *stage) run() error {
	text, err := json.Marshal(s.state)
	if err != nil {
		return fmt.Errorf("%s hooks: %w", s.kind, err)
	}
	for i, h := range s.hooks {
		if err := s.runOne(h, text); err != nil {
			err = fmt.Errorf("%s hook %d of %d, %q: %w", s.kind, i+1, len(s.hooks), h.Path, err)
			if s.warn == nil {
				return err
			}
			fmt.Fprintln(s.warn, "warning:", err)
		}
	}
	return nil
}

// runOne runs a hook to its end, or to its timeout.
func (s *stage) runOne(h specs.Hook, state []byte) (err error) {
	stdin, err := fileInMemory("state", state)
	if err != nil {
		return err
	}
	defer stdin.Close()
	output, err := fileInMemory("output", nil)
	if err != nil {
		return err
	}
	defer output.Close()
	container := s.container
	defer func() { err = errors.Join(err, container.Close()) }()
	listener, err := newListener(container.Spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	container.Handover = listener.forPlan()
	shed, err := newShed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shed.Close()) }()
	container.First = shed.Steps()
	begin, err := s.newBegin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, begin.Close()) }()
	p, err := s.plan(&container, h, begin, oci.Streams{
		Stdin:  plan.Descriptor{Number: int(stdin.Fd()), Name: "state"},
		Output: plan.Descriptor{Number: int(output.Fd()), Name: "output"},
	})
	if err != nil {
		return err
	}
	process, err := launch.Start(p, launch.Options{Cgroup: s.born})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.Close()) }()
	if err := errors.Join(begin.pass(process), listener.handOver(process, s.state)); err != nil {
		return errors.Join(err, process.Kill())
	}
	if err := waitOrKill(process, h.Timeout); err != nil {
		return withOutput(err, output)
	}
	status, err := process.Wait()
	switch {
	case err != nil:
		return err
	case status.Signaled():
		return withOutput(fmt.Errorf("ended by %s", unix.SignalName(status.Signal())), output)
	case status.ExitStatus() != 0:
		return withOutput(fmt.Errorf("exit status %d", status.ExitStatus()), output)
	}
	return nil
}

// newBegin makes the stop at which a hook of the host waits when it has asked to be
// ended with this process: if that has ended before, nobody opens the gate. One of
// the container ends with the container.
func (s *stage) newBegin() (*stop, error) {
	if s.container.Spec != nil {
		return nil, nil
	}
	return newStop("ends with its parent")
}

// plan makes the plan of a hook, of the host's or of the container's own.
func (s *stage) plan(container *oci.Container, h specs.Hook, begin *stop, streams oci.Streams) (*plan.Plan, error) {
	if container.Spec == nil {
		return container.HookPlan(h, s.dir, streams, begin.steps())
	}
	var given []plan.Descriptor
	if s.born != nil {
		given = append(given, plan.Descriptor{Number: int(s.born.Fd()), Name: "cgroup"})
	}
	return container.StartHookPlan(h, streams, given...)
}

// fileInMemory is a file that has no name: memfd_create(2). A pipe would want
// somebody at its other end: a hook that does not read the state would block the
// writer or kill it (EPIPE is no error here), and one that leaves a process behind
// would keep the reader waiting.
func fileInMemory(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(content)
	if _, failed := f.Seek(0, io.SeekStart); err != nil || failed != nil {
		return nil, errors.Join(err, failed, f.Close())
	}
	return f, nil
}

// withOutput adds to an error what the hook has said, the end of it.
func withOutput(err error, output *os.File) error {
	const most = 2048 // bytes
	info, failed := output.Stat()
	if failed != nil {
		return err
	}
	text := make([]byte, min(info.Size(), most))
	n, _ := output.ReadAt(text, info.Size()-int64(len(text))) // what there is
	said := strings.TrimSpace(string(text[:n]))
	if said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.ReplaceAll(said, "\n", "; "))
}

// waitOrKill waits until a hook has ended: a pidfd is readable then, pidfd_open(2).
// Past its timeout, in seconds, it is killed with all that it has started in its
// process group.
func waitOrKill(process *launch.Process, timeout *int) error {
	limit := time.Duration(math.MaxInt64)
	if timeout != nil && int64(*timeout) < math.MaxInt64/int64(time.Second) {
		limit = time.Duration(*timeout) * time.Second
	}
	for began := time.Now(); ; {
		left := limit - time.Since(began)
		milliseconds := min((left + time.Millisecond - 1).Milliseconds(), math.MaxInt32)
		if timeout == nil {
			milliseconds = -1
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(process.Pidfd().Fd()), Events: unix.POLLIN}}, int(max(milliseconds, -1)))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for it: %w", err)
		case timeout != nil && time.Since(began) >= limit:
			// It has not been waited for, so the number is still its own.
			err := unix.Kill(-process.Pid, unix.SIGKILL)
			if errors.Is(err, unix.ESRCH) { // it has not come to setsid(2) yet
				err = nil
			}
			return errors.Join(fmt.Errorf("killed, it took longer than its timeout of %d s", *timeout), err, process.Kill())
		}
	}
}

// stopForHooks makes the stop at which the container's process waits for the hooks
// before pivot_root. Without any hooks, also of later, there is none: a container
// has come to its hooks, or it has not, and then poststop is not for it.
func (c *Container) stopForHooks() (*stop, error) {
	if c.config.Spec.Hooks == nil {
		return nil, nil
	}
	return newStop("all is mounted")
}

// runCreateHooks runs the hooks of create. To them the container is created: its
// environment is there ("after step 2", runtime.md, "State"), and so says crun.
func (c *Container) runCreateHooks(mounted *stop) error {
	if mounted == nil {
		return nil
	}
	if err := mounted.wait(c.process); err != nil {
		return err
	}
	if err := c.runHostHooks(); err != nil {
		return err
	}
	if err := c.state.runHooksInside("createContainer", c.config.Spec.Hooks.CreateContainer, c.process.Pidfd(), nil); err != nil {
		return err
	}
	return mounted.gate.Open()
}

// runHostHooks runs those of create that are the host's.
func (c *Container) runHostHooks() error {
	c.hooked = true
	h := c.config.Spec.Hooks
	//lint:ignore SA1019 prestart is deprecated, and in use
	if err := c.state.runHooks("prestart", h.Prestart, specs.StateCreated, nil); err != nil {
		return err
	}
	return c.state.runHooks("createRuntime", h.CreateRuntime, specs.StateCreated, nil)
}

// startHooks runs the hooks of startContainer, for a container that waits for start.
func (s *State) startHooks(dir string) error {
	if s.Hooks == nil || len(s.Hooks.StartContainer) == 0 {
		return nil
	}
	spec, err := s.loadConfig(dir)
	if err != nil {
		return err
	}
	pidfd, err := openProcess(s)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return s.runHooksInside("startContainer", s.Hooks.StartContainer, pidfd, spec)
}

// poststart runs the hooks of poststart, for a container whose program runs.
func (s *State) poststart() error {
	if s.Hooks == nil {
		return nil
	}
	return s.runHooks("poststart", s.Hooks.Poststart, specs.StateRunning, nil)
}

// runHooks runs hooks of the host, in the namespaces of this process.
func (s *State) runHooks(kind string, hooks []specs.Hook, status specs.ContainerState, warn io.Writer) error {
	if len(hooks) == 0 {
		return nil
	}
	ours, err := namespace.NewSet(nil)
	if err != nil {
		return err
	}
	dir := s.Bundle
	if _, err := os.Stat(dir); err != nil {
		dir = "/" // a container can outlive its bundle
	}
	at := stage{kind: kind, hooks: hooks, state: s.State, warn: warn, container: oci.Container{Namespaces: ours}, dir: dir}
	at.state.Status = status
	return at.run()
}

// runHooksInside runs hooks in the namespaces and the cgroup of the container's
// process, which pidfd refers to. With a configuration they are the container's
// own programs, see oci.Container.StartHookPlan; without, the host's.
func (s *State) runHooksInside(kind string, hooks []specs.Hook, pidfd *os.File, own *specs.Spec) (err error) {
	if len(hooks) == 0 {
		return nil
	}
	set, err := namespace.NewSet(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	if err := set.JoinProcess(pidfd, everyNamespace); err != nil {
		return fmt.Errorf("%s hooks: %w", kind, err)
	}
	group, entrances := waysIn(s.CgroupPaths, s.FoundGroup, s.Resctrl)
	at := stage{kind: kind, hooks: hooks, state: s.State, dir: s.Rootfs, container: oci.Container{
		Spec: own, Namespaces: set, Init: s.Pid, Entrances: entrances, Keyring: s.Keyring,
	}}
	if at.born, err = openGroup(group); err != nil {
		return err
	}
	defer closeFile(&at.born)
	at.state.Status = specs.StateCreated
	if at.state.Pid, err = innerPid(s.Pid); err != nil {
		return fmt.Errorf("%s hooks: %w", kind, err)
	}
	return at.run()
}

// innerPid is the number that a process has in its own pid namespace: the last one
// of NSpid in proc(5), /proc/PID/status.
func innerPid(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("find the process in its own namespace: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	numbers := strings.Fields(line)
	if len(numbers) == 0 {
		return 0, fmt.Errorf("find the process in its own namespace: /proc/%d/status has no NSpid", pid)
	}
	return strconv.Atoi(numbers[len(numbers)-1])
}
