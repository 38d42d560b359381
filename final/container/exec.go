package container

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

// exec: a further process in a container that runs. It is born in the container's
// cgroup, joins all namespaces of the first process at once (setns(2) with a
// pidfd), and becomes what its configuration says. It is no child of the
// container's first process but of this one: pid_namespaces(7).

// ExecConfig says what Exec runs.
type ExecConfig struct {
	// Edit changes a copy of the container's own process into the one to run.
	Edit func(*specs.Process) error

	Options
	Detach       bool              // return when the program runs
	Groups       map[string]string // v1 controller, or "" for all, → group below the container's
	IgnorePaused bool              // in a paused container it then waits until that is resumed
}

// A guest is a further process on its way into a container.
type guest struct {
	newcomer
	config ExecConfig
	state  *State
	spec   *specs.Spec // the container's, with the guest's process
	init   *os.File    // pidfd of the first process
}

// Exec runs a further process in a container, waits for its end unless it is
// detached, and returns its exit status as a shell gives it.
func (r *Runtime) Exec(id string, config ExecConfig) (status int, err error) {
	if err := errors.Join(Protect(), checkInherited(config.KeepDescriptors)); err != nil {
		return 0, err
	}
	stop := func() error { return nil }
	if !config.Detach { // a signal that comes before the program runs is for it all the same
		if config.Signals, stop, err = config.caught(); err != nil {
			return 0, err
		}
	}
	defer func() { err = errors.Join(err, stop()) }()
	g, err := r.newGuest(id, config)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.launch(); err != nil {
		return 0, err
	}
	if !config.Detach && config.ConsoleSocket == "" {
		return g.attend()
	}
	if err := g.ready(); err != nil {
		return 0, errors.Join(err, g.process.Kill())
	}
	if config.Detach {
		return 0, nil
	}
	return g.end()
}

// newGuest finds the container and makes sure that a process can enter.
func (r *Runtime) newGuest(id string, config ExecConfig) (*guest, error) {
	dir, state, err := r.find(id)
	if err != nil {
		return nil, err
	}
	switch {
	case state.Status == specs.StateStopped:
		return nil, fmt.Errorf("container %q has stopped", id)
	case state.Status == specs.StateCreating:
		return nil, fmt.Errorf("exec in container %q: it is still being created", id)
	case state.Status == StatePaused && !config.IgnorePaused:
		return nil, hint.Add(fmt.Errorf("container %q is paused", id), "resume it first: skiff-oci resume "+id)
	}
	g := &guest{newcomer: newcomer{options: config.Options}, config: config, state: state}
	if g.init, err = openProcess(state); err != nil {
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	if g.spec, err = state.loadConfig(dir); err != nil {
		return nil, errors.Join(err, g.close())
	}
	if err := g.configure(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// configure makes the process to run from the container's own.
func (g *guest) configure() error {
	p := specs.Process{Cwd: "/"} // a container may have no program of its own
	if own := g.spec.Process; own != nil {
		p = *own
	}
	g.spec.Process = &p
	if err := g.config.Edit(&p); err != nil {
		return err
	}
	switch attached := !g.config.Detach; {
	case p.Terminal && !attached && g.config.ConsoleSocket == "":
		return errors.New("a terminal and --detach: somebody must get the terminal; give --console-socket")
	case !p.Terminal && g.config.ConsoleSocket != "":
		return errors.New("--console-socket, but the process has no terminal: give --tty")
	}
	if err := oci.CompleteEnv(&p, oci.Files(oci.RootOf(g.state.Pid))); err != nil {
		return err
	}
	if !p.Terminal {
		return nil
	}
	var err error
	g.terminal, err = terminalIn(g.state.Pid, g.spec)
	return err
}

// launch starts the process.
func (g *guest) launch() (err error) {
	set, err := namespace.NewSet(nil)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := set.JoinProcess(g.init, everyNamespace); err != nil {
		return err
	}
	groups, err := g.groups()
	if err != nil {
		return err
	}
	group, entrances := waysIn(groups, g.state.FoundGroup, g.state.Resctrl)
	born, err := openGroup(group)
	if err != nil {
		return err
	}
	defer closeFile(&born)
	shed, err := newShed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shed.Close()) }()
	g.planned = &oci.Container{
		Spec: g.spec, Namespaces: set, First: shed.Steps(), Init: g.state.Pid, Entrances: entrances, Keyring: g.state.Keyring,
	}
	defer func() { err = errors.Join(err, g.planned.Close()) }()
	var given []plan.Descriptor
	if born != nil {
		given = append(given, plan.Descriptor{Number: int(born.Fd()), Name: "cgroup"})
	}
	if err := g.makePlan(func() (*plan.Plan, []string, error) { return g.planned.ExecPlan(given...) }); err != nil {
		return err
	}
	if err := g.birth(launch.Options{Cgroup: born, Timed: g.config.Timed}); err != nil {
		return err
	}
	return errors.Join(g.terminal.handedOver(), g.listener.handOver(g.process, g.state.State))
}

// everyNamespace are the flags of all kinds: those that the container shares with
// this process are left out by JoinProcess. Of a time namespace the clocks are
// what they are; offsets are set before the first process enters, never here.
const everyNamespace = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// birth clones. In cgroup v2 a group that hands controllers down to groups below
// it takes no process itself (cgroups(7), "no internal processes" rule): EBUSY.
// A container that has made such groups has its first process in one of them, and
// so goes the further one.
func (g *guest) birth(o launch.Options) (err error) {
	g.process, err = launch.Start(g.plan, o)
	if o.Cgroup == nil || !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	dir, failed := g.groupOfInit()
	if failed != nil {
		return errors.Join(err, failed)
	}
	other, failed := openGroup(dir)
	if failed != nil {
		return errors.Join(err, failed)
	}
	defer other.Close()
	// By the same number, which is in the plan.
	if failed := unix.Dup3(int(other.Fd()), int(o.Cgroup.Fd()), unix.O_CLOEXEC); failed != nil {
		return errors.Join(err, failed)
	}
	g.process, err = launch.Start(g.plan, o)
	return err
}

// groupOfInit is the v2 group in which the first process is now.
func (g *guest) groupOfInit() (dir string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", g.state.Pid))
	if err != nil {
		return "", fmt.Errorf("find the cgroup of the container's first process: %w", err)
	}
	own := g.state.CgroupPaths[""]
	mountPoint := strings.TrimSuffix(own, path.Clean("/"+cgroupPath(g.spec, g.state.ID)))
	for line := range strings.Lines(string(text)) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path.Join(mountPoint, group), nil
		}
	}
	return own, nil
}

// groups are the directories that the process enters: the container's, or groups
// below them that exist.
func (g *guest) groups() (map[string]string, error) {
	groups := maps.Clone(g.state.CgroupPaths)
	for controller, below := range g.config.Groups {
		if _, ok := groups[controller]; !ok && controller != "" {
			return nil, fmt.Errorf("--cgroup %q: the container has no group of the controller %q", controller+":"+below, controller)
		}
		for name, dir := range groups {
			if controller == "" || name == controller {
				groups[name] = path.Join(dir, path.Join("/", below)) // no ".." leads above
			}
		}
	}
	return groups, nil
}

// openGroup opens a group of version 2 for a process to be born in.
func openGroup(dir string) (*os.File, error) {
	if dir == "" {
		return nil, nil
	}
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup: %w", err)
	}
	return f, nil
}

// attend carries the terminal's bytes and waits for the process.
func (g *guest) attend() (status int, err error) {
	drained, err := g.attach()
	if err != nil {
		return 0, errors.Join(err, g.process.Kill())
	}
	if err := g.ready(); err != nil {
		return 0, errors.Join(err, g.process.Kill(), drained())
	}
	status, err = g.end()
	return status, errors.Join(err, drained())
}

// ready waits until the program runs, and tells who wants to know.
func (g *guest) ready() error {
	if err := g.started(); err != nil {
		return err
	}
	return g.announce("setns")
}

// end waits for the process's end.
func (g *guest) end() (status int, err error) {
	end, err := g.wait(g.options.Signals, g.process.Signal)
	return exitStatus(end), err
}

// close gives back what this process holds of the guest.
func (g *guest) close() error { return errors.Join(closeFile(&g.init), g.newcomer.close()) }
