// Package container makes containers and remembers them: it runs the plan,
// does on the host what the plan waits for, and keeps in a state folder what
// the next command must know. The life cycle is that of the OCI runtime
// specification, runtime.md.
package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage04-overlay/overlay"
)

// A Runtime keeps containers below one state folder.
type Runtime struct {
	Root string // the state folder, best on a tmpfs: /run/skiff

	// Undoers unmake what Config.Prepare and Config.Connect record beyond
	// files, mounts and cgroups.
	Undoers journal.Undoers
}

// Config says which container to make.
type Config struct {
	ID     string
	Bundle string // for the state; the configuration is Spec
	Spec   *specs.Spec

	// Prepare makes on the host what Spec needs, and records it. It may
	// change Spec. Nil does nothing.
	Prepare func(*journal.Journal) (*overlay.Stack, error)
	// Connect gives the new process, which waits meanwhile, a network. Nil
	// does nothing.
	Connect func(j *journal.Journal, pid int) error

	PidFile         string    // where to write the process's id, or ""
	ConsoleSocket   string    // where to send the terminal's master, or ""
	KeepDescriptors int       // how many descriptors from 3 on the program inherits
	Warn            io.Writer // where warnings go
	Timed           bool      // measure the steps
	Signals         *Signals  // what Run passes on; nil: it catches them itself, until it returns
}

// A Container is one that this process is making or running.
type Container struct {
	runtime  *Runtime
	dir      string
	config   Config
	attended bool // see State.Attended
	lock     *os.File
	journal  *journal.Journal
	cgroup   *cgroup.Manager
	terminal *terminal
	plan     *plan.Plan
	planned  *oci.Container // holds what the plan needs open, until the process is there
	process  *launch.Process
	state    *State
}

// beginning says how the program of a container waits for start: the steps
// that do it, and the file in which the process reports meanwhile. The zero
// value does not wait.
type beginning struct {
	steps  []plan.Step
	report *os.File
}

// make does what create and run have in common: it returns with the plan
// under way. begin is called when the state folder is there. After an error
// nothing is left.
func (r *Runtime) make(config Config, attended bool, begin func(*Container) (beginning, error)) (*Container, error) {
	if err := protectSelf(config.Spec); err != nil {
		return nil, err
	}
	dir, held, err := makeFolder(r.Root, config.ID)
	if err != nil {
		return nil, err
	}
	c := &Container{runtime: r, dir: dir, lock: held, config: config, attended: attended}
	if err := c.assemble(begin); err != nil {
		return nil, errors.Join(err, c.destroy())
	}
	return c, nil
}

// assemble makes everything on the host, then the process.
func (c *Container) assemble(begin func(*Container) (beginning, error)) (err error) {
	if c.journal, err = journal.Open(filepath.Join(c.dir, journalFile)); err != nil {
		return err
	}
	if err := c.journal.Record("remove-all", c.dir); err != nil {
		return err
	}
	var stack *overlay.Stack
	if c.config.Prepare != nil {
		if stack, err = c.config.Prepare(c.journal); err != nil {
			return err
		}
	}
	if _, err := os.Stat(c.config.Spec.Root.Path); err != nil {
		return fmt.Errorf("root file system %q: %w", c.config.Spec.Root.Path, errors.Unwrap(err))
	}
	if err := c.chooseCgroup(); err != nil {
		return err
	}
	return c.launch(stack, begin)
}

// launch starts the process and does what its plan waits for.
func (c *Container) launch(stack *overlay.Stack, begin func(*Container) (beginning, error)) (err error) {
	set, err := namespace.NewSet(c.config.Spec.Linux.Namespaces)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := set.SetTimeOffsets(c.config.Spec.Linux.TimeOffsets); err != nil {
		return fmt.Errorf("linux.timeOffsets: %w", err)
	}
	gate, err := launch.NewGate()
	if err != nil {
		return err
	}
	defer gate.Close()
	if c.config.Spec.Process.Terminal {
		if c.terminal, err = newTerminal(c.config.Spec); err != nil {
			return err
		}
	}
	start, err := begin(c)
	if err != nil {
		return err
	}
	if start.report != nil {
		defer start.report.Close()
	}
	born, err := c.planAndCgroup(set, gate, stack, start.steps)
	defer func() { err = errors.Join(err, c.planned.Close()) }()
	if err != nil {
		return err
	}
	defer closeFile(&born)
	options := launch.Options{Namespaces: set.Born(), Cgroup: born, Timed: c.config.Timed, Report: start.report}
	if c.process, err = launch.Start(c.plan, options); err != nil {
		return err
	}
	if err := c.attend(set); err != nil {
		// A process that has failed cannot be attended to; then its reason
		// is the one to tell.
		if failed := c.process.Failure(); failed != nil {
			return failed
		}
		return err
	}
	return errors.Join(gate.Open(), c.terminal.handedOver())
}

// planAndCgroup makes both at the same time: the kernel takes as long for the
// cgroup as this process for the plan. See makeCgroup for born.
func (c *Container) planAndCgroup(set *namespace.Set, gate *launch.Gate, stack *overlay.Stack, begin []plan.Step) (born *os.File, err error) {
	made := make(chan error, 1)
	go func() {
		var err error
		born, err = c.makeCgroup()
		made <- err
	}()
	err = c.makePlan(set, gate, stack, begin)
	if err := errors.Join(err, <-made); err != nil {
		return nil, errors.Join(err, closeFile(&born))
	}
	return born, nil
}

// makePlan computes the plan and passes its warnings on.
func (c *Container) makePlan(set *namespace.Set, gate *launch.Gate, stack *overlay.Stack, begin []plan.Step) error {
	container := &oci.Container{
		Spec: c.config.Spec, Namespaces: set, Prepared: gate.Steps(), Begin: begin, Stack: stack,
		Cgroups: c.cgroup.Paths(), Entrances: c.cgroup.Entrances(), Terminal: c.terminal.forPlan(), KeepDescriptors: c.config.KeepDescriptors,
	}
	c.planned = container
	p, warnings, err := container.Plan()
	if err != nil {
		return err
	}
	c.plan = p
	for _, w := range warnings {
		fmt.Fprintln(c.config.Warn, "warning:", w)
	}
	return nil
}

// attend does what only the parent can do for the process, which waits at the
// gate for it, and writes the state down.
func (c *Container) attend(set *namespace.Set) error {
	pid, linux := c.process.Pid, c.config.Spec.Linux
	if set.New(unix.CLONE_NEWUSER) {
		if err := (namespace.Maps{UIDs: linux.UIDMappings, GIDs: linux.GIDMappings}).Write(pid); err != nil {
			return err
		}
	}
	if score := c.config.Spec.Process.OOMScoreAdj; score != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(fmt.Sprint(*score)), 0); err != nil {
			return fmt.Errorf("set oom_score_adj %d: %w", *score, err)
		}
	}
	if c.config.Connect != nil {
		if err := c.config.Connect(c.journal, pid); err != nil {
			return err
		}
	}
	return c.remember()
}

// remember writes the first state.
func (c *Container) remember() error {
	bundle, err := filepath.Abs(c.config.Bundle)
	if err != nil {
		return err
	}
	c.state = &State{
		State: specs.State{
			Version: c.config.Spec.Version, ID: c.config.ID, Status: specs.StateCreated, Pid: c.process.Pid,
			Bundle: bundle, Annotations: c.config.Spec.Annotations,
		},
		Created:  time.Now().UTC(),
		Rootfs:   c.config.Spec.Root.Path,
		Attended: c.attended,
		Started:  c.attended, // nobody will start it
	}
	c.state.StartTime, _ = startTime(c.process.Pid)
	if err := c.state.write(c.dir); err != nil {
		return err
	}
	if c.config.PidFile == "" {
		return nil
	}
	if err := os.WriteFile(c.config.PidFile, []byte(fmt.Sprint(c.process.Pid)), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

// destroy ends the process and unmakes everything on the host. It may be
// called at any point of a container's life, and more than once.
func (c *Container) destroy() error {
	var errs []error
	if c.process != nil {
		errs = append(errs, c.process.Kill(), c.process.Close())
		c.process = nil
	}
	errs = append(errs, c.terminal.Close())
	if c.journal != nil {
		errs = append(errs, c.journal.Undo(c.runtime.undoers()), c.journal.Close())
	} else if err := os.RemoveAll(c.dir); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if c.lock != nil {
		errs = append(errs, closeFile(&c.lock))
	}
	return errors.Join(errs...)
}

// undoers are all kinds of entries that a journal here can have.
func (r *Runtime) undoers() journal.Undoers {
	all := journal.Undoers{}
	for _, some := range []journal.Undoers{journal.Files(), cgroup.Undoers(), r.Undoers} {
		for kind, undo := range some {
			all[kind] = undo
		}
	}
	return all
}
