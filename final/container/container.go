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
	"maps"
	"os"
	"path/filepath"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/final/security"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
)

// A Runtime keeps containers below one state folder.
type Runtime struct {
	Root string // the state folder, best on a tmpfs: /run/skiff

	// Warn is where warnings of later commands go: of hooks that fail when a
	// container is deleted. Nil is standard error.
	Warn io.Writer

	// Undoers unmake what Config.Prepare and Config.Connect record beyond
	// files, mounts and cgroups.
	Undoers journal.Undoers
}

// Config says which container to make.
type Config struct {
	ID     string
	Bundle string // for the state; the configuration is Spec
	Spec   *specs.Spec
	Text   []byte // config.json, if that is Spec as it stands

	// Prepare makes on the host what Spec needs, and records it. It may
	// change Spec. For layers see oci.Container. Nil does nothing.
	Prepare func(*journal.Journal) (layers func(*plan.Plan) error, err error)
	// Connect gives the new process, which waits meanwhile, a network. Nil
	// does nothing.
	Connect func(j *journal.Journal, pid int) error
	// Ended is called by Run when the program has ended well, status 0, and what
	// Prepare has made is still there. Nil does nothing.
	Ended func() error

	Options
	Keep         bool // Run leaves the container when its program has ended, for Delete
	NoNewKeyring bool // leave the program the session keyring of who makes the container
	NoPivot      bool // see oci.Container.NoPivot
}

// A Container is one that this process is making or running.
type Container struct {
	runtime  *Runtime
	dir      string
	config   Config
	attended bool // see State.Attended
	hooked   bool // it has come to its hooks, and so will to those of poststop
	lock     *os.File
	journal  *journal.Journal
	cgroup   *cgroup.Manager
	resctrl  []string // see State.Resctrl

	foundGroup bool // see State.FoundGroup

	newcomer
	state *State
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
	if err := Protect(); err != nil {
		return nil, err
	}
	if err := checkInherited(config.KeepDescriptors); err != nil {
		return nil, err
	}
	dir, held, err := makeFolder(r.Root, config.ID)
	if err != nil {
		return nil, err
	}
	c := &Container{runtime: r, dir: dir, lock: held, config: config, attended: attended, newcomer: newcomer{options: config.Options}}
	if err := c.assemble(begin); err != nil {
		return nil, errors.Join(c.why(err), c.destroy())
	}
	return c, nil
}

// assemble makes everything on the host, then the process.
func (c *Container) assemble(begin func(*Container) (beginning, error)) (err error) {
	if c.journal, err = journal.Open(filepath.Join(c.dir, journalFile)); err != nil {
		return err
	}
	var layers func(*plan.Plan) error
	if c.config.Prepare != nil {
		if layers, err = c.config.Prepare(c.journal); err != nil {
			return err
		}
	}
	if _, err := os.Stat(c.config.Spec.Root.Path); err != nil {
		return fmt.Errorf("root file system %q: %w", c.config.Spec.Root.Path, errors.Unwrap(err))
	}
	if err := errors.Join(c.chooseCgroup(), c.makeResctrl()); err != nil {
		return err
	}
	return c.launch(layers, begin)
}

// launch makes what the plan needs, and starts the process.
func (c *Container) launch(layers func(*plan.Plan) error, begin func(*Container) (beginning, error)) (err error) {
	set, err := namespace.NewSet(c.config.Spec.Linux.Namespaces)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := set.SetTimeOffsets(c.config.Spec.Linux.TimeOffsets); err != nil {
		return fmt.Errorf("linux.timeOffsets: %w", err)
	}
	shed, err := newShed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shed.Close()) }()
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
	mounted, err := c.stopForHooks()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mounted.Close()) }()
	start, err := begin(c)
	if err != nil {
		return err
	}
	if start.report != nil {
		defer start.report.Close()
	}
	// A lock is held for as long as somebody has the file open: flock(2).
	unlock := plan.Close(plan.Descriptor{Number: int(c.lock.Fd()), Name: "lock"}).Doing("leave the lock to the parent")
	born, err := c.planAndCgroup(oci.Container{
		Spec: c.config.Spec, Namespaces: set, First: shed.Steps(), Prepared: append(gate.Steps(), unlock), Mounted: mounted.steps(), Begin: start.steps, Layers: layers,
		NoPivot: c.config.NoPivot,
	})
	defer func() { err = errors.Join(err, c.planned.Close()) }()
	if err != nil {
		return err
	}
	defer closeFile(&born)
	options := launch.Options{Namespaces: set.Born(), Cgroup: born, Timed: c.config.Timed, Report: start.report}
	if c.process, err = launch.Start(c.plan, options); err != nil {
		return err
	}
	return c.accompany(set, gate, mounted)
}

// accompany does what the plan waits for, and lets the process go on, up to its
// start.
func (c *Container) accompany(set *namespace.Set, gate *launch.Gate, mounted *stop) error {
	if err := c.attend(set); err != nil {
		// A process that has failed cannot be attended to; then its reason
		// is the one to tell.
		if failed := c.process.Failure(); failed != nil {
			return failed
		}
		return err
	}
	if err := errors.Join(gate.Open(), c.terminal.handedOver()); err != nil {
		return err
	}
	if err := c.runCreateHooks(mounted); err != nil {
		return err
	}
	return c.handOverListener()
}

// planAndCgroup makes both, the plan first: what is wrong with it is found before anything
// is made. Not both at the same time: a second thread costs a stack, memory to allocate
// from and switches, which is more than it saves. See makeCgroup for born.
func (c *Container) planAndCgroup(planned oci.Container) (born *os.File, err error) {
	c.planned = &planned
	if err := c.makePlan(); err != nil {
		return nil, err
	}
	return c.makeCgroup()
}

// makePlan computes the plan.
func (c *Container) makePlan() error {
	p := c.planned
	p.Cgroups = c.cgroup.Paths()
	_, p.Entrances = waysIn(p.Cgroups, c.foundGroup, c.resctrl)
	if !c.config.NoNewKeyring {
		p.Keyring = oci.Keyring(c.config.ID)
	}
	return c.newcomer.makePlan(p.Plan)
}

// attend does what only the parent can do for the process, which waits at the
// gate for it, and writes the state down.
func (c *Container) attend(set *namespace.Set) error {
	pid, linux := c.process.Pid, c.config.Spec.Linux
	if set.New(unix.CLONE_NEWUSER) {
		if err := (namespace.Maps{UIDs: linux.UIDMappings, GIDs: linux.GIDMappings}).Write(pid); err != nil {
			return err
		}
		if err := security.RaiseLimits(pid, c.config.Spec.Process.Rlimits); err != nil {
			return err
		}
	}
	if score := c.config.Spec.Process.OOMScoreAdj; score != nil {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(fmt.Sprint(*score)), 0); err != nil {
			return hint.Add(fmt.Errorf("set oom_score_adj %d: %w", *score, err), "a value below that of the caller takes CAP_SYS_RESOURCE")
		}
	}
	if c.config.Connect != nil {
		if err := c.config.Connect(c.journal, pid); err != nil {
			return err
		}
	}
	if err := c.moveNetDevices(set); err != nil {
		return err
	}
	return c.remember()
}

// remember writes the first state.
func (c *Container) remember() error {
	bundle, err := filepath.Abs(c.config.Bundle)
	if err != nil {
		return err
	}
	spec := *c.config.Spec
	if len(spec.Process.Args) == 0 {
		spec.Process = nil // as it was, see oci.WithProcess
	}
	c.state = &State{
		State: specs.State{
			Version: specs.Version, ID: c.config.ID, Status: specs.StateCreated, Pid: c.process.Pid,
			Bundle: bundle, Annotations: spec.Annotations,
		},
		Created:  time.Now().UTC(),
		Rootfs:   spec.Root.Path,
		Attended: c.attended,
		Started:  c.attended && spec.Hooks == nil, // nobody will start it

		CgroupPaths: c.cgroup.Paths(), FoundGroup: c.foundGroup, Resctrl: c.resctrl, Keyring: c.planned.Keyring,
		NoProcess: spec.Process == nil, Hooks: spec.Hooks, OwnPids: ownsPids(&spec),
	}
	c.state.StartTime, _ = startTime(c.process.Pid)
	if err := rememberConfig(c.dir, c.config.Text, &spec); err != nil {
		return err
	}
	return c.state.write(c.dir)
}

// destroy ends the process and unmakes everything on the host. It may be
// called at any point of a container's life, and more than once.
func (c *Container) destroy() error {
	var errs []error
	if c.process != nil {
		errs = append(errs, c.process.Kill())
	}
	errs = append(errs, c.close())
	if c.dir != "" {
		state := c.state
		if !c.hooked {
			state = nil
		}
		errs = append(errs, c.runtime.undo(c.dir, c.journal, state, c.config.Warn))
		c.dir = ""
	}
	if c.lock != nil {
		errs = append(errs, closeFile(&c.lock))
	}
	return errors.Join(errs...)
}

// undo unmakes what is on the host of a container, and then its state folder. In
// between come the hooks of poststop: "after the container is deleted but before
// the delete operation returns" (config.md). Nobody finds the container any more
// while they run; but should this process be killed, the next `delete --force`
// runs them again.
func (r *Runtime) undo(dir string, j *journal.Journal, state *State, warn io.Writer) error {
	if j != nil {
		if err := errors.Join(j.Undo(r.undoers()), j.Close()); err != nil {
			return err // what is left stands in the journal
		}
	}
	deleted := filepath.Join(dir, deletedFile)
	if state != nil && state.Hooks != nil {
		if err := os.Rename(filepath.Join(dir, stateFile), deleted); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		state.Pid = 0
		if warn == nil {
			warn = os.Stderr
		}
		if err := state.runHooks("poststop", state.Hooks.Poststop, specs.StateStopped, warn); err != nil {
			return err
		}
	}
	folder, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return journal.RemoveAll(folder)
}

// undoers are all kinds of entries that a journal here can have.
func (r *Runtime) undoers() journal.Undoers {
	all := journal.Files()
	maps.Copy(all, cgroup.Undoers())
	maps.Copy(all, r.Undoers)
	return all
}
