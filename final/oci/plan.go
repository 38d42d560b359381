package oci

import (
	"errors"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security"
	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage03-cgroups/cgroupmount"
)

// From a configuration to the plan of a container's first process, in the order
// that the kernel and the specification ask for: runtime-spec config.md,
// config-linux.md.

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 7

// WaitForStart is the heading of Container.Begin.
const WaitForStart = "wait for start"

// A Container is what a plan is made from: the configuration, and what the
// parent has prepared for the container on the host.
type Container struct {
	Spec       *specs.Spec
	Namespaces *namespace.Set

	// First are the steps by which the process lets go of this program, see
	// launch.Shed.
	First []plan.Step
	// Prepared are the steps that wait until the parent has done its part:
	// id maps, network, state. They come as late as they can, so that parent
	// and child work at the same time.
	Prepared []plan.Step
	// Mounted are the steps that wait while others look at, or add to, what is
	// mounted: hooks, which come before pivot_root and may make mount points.
	Mounted []plan.Step
	// Begin are the steps that wait for the word to start the program. All that
	// can fail but the program itself comes before, and is an error of create.
	Begin []plan.Step
	// Handover takes the listener of a seccomp filter that notifies to the
	// parent, see security.Rights. Nil if there is none.
	Handover *security.Handover

	// Layers adds the steps that mount something on the root's path first. Nil takes
	// what is there.
	Layers func(*plan.Plan) error
	// Cgroups are the container's groups: hierarchy ("memory", "name=systemd";
	// "" for version 2) → directory, see cgroup.Manager.Paths.
	Cgroups map[string]string
	// Entrances are the files through which the process moves itself into
	// those of version 1, see cgroup.Entrances.
	Entrances []string
	// Terminal is the container's terminal. Nil leaves it the descriptors 0-2
	// of its parent.
	Terminal *Terminal
	// KeepDescriptors is how many descriptors from 3 on the program inherits.
	KeepDescriptors int
	// Keyring is the name of the process's session keyring, see Keyring. ""
	// leaves it that of whoever calls us.
	Keyring string
	// NoPivot moves the root over the host's and chroots, see mount.Root.Move.
	NoPivot bool
	// Init is the first process of a container that runs, for the plan of a
	// further one, see ExecPlan.
	Init int

	streams    []plan.Step // make descriptors 0 to 2, of a hook
	path       string      // the program's file, of a hook; "": it is args[0], see findProgram
	waited     bool        // the steps of Prepared are in the plan
	root       *mount.Root // holds what the plan needs open, as does
	attributes *attributes
}

// Close gives back the descriptors that the plan needs open: call it when the
// process has been started.
func (c *Container) Close() error {
	var errs []error
	if c.root != nil {
		errs = append(errs, c.root.Close())
	}
	if c.attributes != nil {
		errs = append(errs, c.attributes.close())
	}
	return errors.Join(errs...)
}

// A Terminal is a pseudoterminal that the parent has made in a devpts file
// system that is to be the container's /dev/pts: pty(7).
type Terminal struct {
	Devpts plan.Descriptor // the mount, attached nowhere yet
	Slave  plan.Descriptor // the end that the program gets
}

// Plan makes the plan of the container's first process. The warnings say what
// the container asked for and does not get.
func (c *Container) Plan() (p *plan.Plan, warnings []string, err error) {
	if err := c.ownNames(); err != nil {
		return nil, nil, err
	}
	if err := c.completeEnv(); err != nil {
		return nil, nil, err
	}
	p = c.newPlan()
	if err := c.newAttributes(p); err != nil {
		return nil, nil, err
	}
	enter := openCgroups(p, c.Entrances)
	c.Namespaces.Steps(p)
	enter()
	if c.Namespaces.Has(unix.CLONE_NEWUSER) {
		c.waitForParent(p) // before its ids are mapped, the process is nobody
		p.Section(2, "root of its own user namespace")
		p.Add(plan.Setresgid(0), plan.Setresuid(0))
	}
	p.Section(2, "a session and a network of its own")
	p.Add(plan.Setsid())
	if c.Namespaces.New(unix.CLONE_NEWNET) {
		p.Add(plan.LoopbackUp(p)...)
	}
	if err := c.fileSystem(p); err != nil {
		return nil, nil, err
	}
	warnings, err = c.process(p)
	return p, slices.Concat(c.mountLabelWarning(), c.root.Warnings(), warnings), err
}

// newPlan begins a plan.
func (c *Container) newPlan() *plan.Plan {
	p := &plan.Plan{}
	p.Section(chapter, "let go of the program of the host")
	p.Add(c.First...)
	return p
}

// ownNames makes sure that the plan does not change the host: a path to a namespace
// may lead to the one that we are in ourselves.
func (c *Container) ownNames() error {
	switch s := c.Spec; {
	case !c.Namespaces.Has(unix.CLONE_NEWNS) && c.Namespaces.Has(unix.CLONE_NEWUSER):
		return errors.New("linux.namespaces has a user namespace and no mount namespace: from there it could not go back to that of this process")
	case !c.Namespaces.Has(unix.CLONE_NEWNS) && s.Linux.RootfsPropagation != "":
		return errors.New("linux.rootfsPropagation is set, but linux.namespaces has no mount namespace: the root is in none")
	case (s.Hostname != "" || s.Domainname != "") && !c.Namespaces.Has(unix.CLONE_NEWUTS):
		return errors.New("hostname or domainname is set, but the uts namespace is this process's own: it would rename the host")
	}
	return nil
}

// waitForParent adds the steps that wait, the first time, and then those that
// need the process to be in its cgroup.
func (c *Container) waitForParent(p *plan.Plan) {
	if c.waited {
		return
	}
	c.waited = true
	p.Section(chapter, "wait for the parent")
	p.Add(c.Prepared...)
	c.Namespaces.LateSteps(p)
}

// fileSystem adds the steps that make the container's root, all that is
// mounted in it, and leave the host's.
func (c *Container) fileSystem(p *plan.Plan) error {
	// Slave unless the configuration says otherwise, as in runc: later mounts
	// of the host below a bind mount arrive, and none goes the other way.
	propagation, err := mount.DetachFor(c.Spec.Linux.RootfsPropagation)
	if err != nil {
		return field("linux.rootfsPropagation", err)
	}
	if !c.Namespaces.Has(unix.CLONE_NEWNS) {
		mount.StepAside(p)
	}
	mount.Detach(p, propagation)
	if c.Layers != nil {
		if err := c.Layers(p); err != nil {
			return err
		}
	}
	root := mount.NewRoot(p, c.Spec.Root.Path)
	c.root = root
	if c.Namespaces.Has(unix.CLONE_NEWUSER) || !namespace.InFirstUser() {
		root.OwnUserNamespace(c.Spec.Linux.UIDMappings, c.Spec.Linux.GIDMappings)
	}
	if err := root.Propagation(c.Spec.Linux.RootfsPropagation); err != nil {
		return fmt.Errorf("linux.rootfsPropagation: %w", err)
	}
	p.Section(2, "files get the mode that they ask for")
	p.Add(plan.Umask(0))
	for _, m := range c.Spec.Mounts {
		if err := c.mount(p, root, m); err != nil {
			return err
		}
	}
	c.waitForParent(p)
	if err := c.devices(p, root); err != nil {
		return err
	}
	p.Section(chapter, "wait for hooks")
	p.Add(c.Mounted...)
	makeDirectory(p, root.FD(), c.Spec.Process.Cwd)
	if err := sysctls(p, &c.attributes.proc, c.Spec.Linux.Sysctl, c.Namespaces); err != nil {
		return err
	}
	for _, path := range c.Spec.Linux.ReadonlyPaths {
		root.ReadOnlyPath(path)
	}
	for _, path := range c.Spec.Linux.MaskedPaths {
		if err := root.Mask(path); err != nil {
			return err
		}
	}
	if c.Spec.Root.Readonly {
		root.ReadOnly()
	}
	return c.enter(root)
}

// enter makes the root the process's.
func (c *Container) enter(root *mount.Root) error {
	switch {
	case !c.Namespaces.Has(unix.CLONE_NEWNS):
		root.Return()
	case c.NoPivot:
		return root.Move()
	default:
		root.Pivot()
	}
	return nil
}

// mount adds the steps for one mount. Two are not mounts like others: the
// cgroup tree, which is put together, and the devpts that the parent has made.
func (c *Container) mount(p *plan.Plan, root *mount.Root, m specs.Mount) error {
	switch {
	case m.Type == "cgroup" || m.Type == "cgroup2":
		c.waitForParent(p) // its groups are made meanwhile
		return cgroupmount.Add(root, m, c.Cgroups)
	case m.Type == "devpts" && c.Terminal != nil:
		root.Attach(c.Terminal.Devpts, m)
		return nil
	}
	return root.Mount(labelled(m, c.mountLabel()))
}

// devices adds the steps that make the device nodes. A /dev that is the
// host's (a bind mount) has all of them, and is not to be changed.
func (c *Container) devices(p *plan.Plan, root *mount.Root) error {
	for _, m := range c.Spec.Mounts {
		o, err := mount.ParseOptions(m.Options)
		if err == nil && m.Destination == "/dev" && (o.Bind || m.Type == "bind") {
			return nil
		}
	}
	wanted := mount.DefaultDevices()
	for _, d := range c.Spec.Linux.Devices {
		wanted = slices.DeleteFunc(wanted, func(w specs.LinuxDevice) bool { return w.Path == d.Path })
		wanted = append(wanted, d)
	}
	if err := root.Devices(wanted); err != nil {
		return err
	}
	if c.Terminal != nil {
		root.Console(c.Terminal.Slave)
	}
	return nil
}

// process adds the steps that make the process what the configuration says:
// its names, descriptors, directory, rights, and at last its program.
func (c *Container) process(p *plan.Plan) (warnings []string, err error) {
	s := c.Spec
	p.Section(2, "names")
	if s.Hostname != "" {
		p.Add(plan.Sethostname(s.Hostname))
	}
	if s.Domainname != "" {
		p.Add(plan.Setdomainname(s.Domainname))
	}
	if err := c.attributes.steps(p); err != nil {
		return nil, err
	}
	p.Add(c.streams...)
	if c.Terminal != nil {
		p.Section(chapter, "a terminal")
		for fd := range 3 {
			p.Add(plan.Dup3(c.Terminal.Slave, fd))
		}
		p.Add(plan.ControllingTerminal(plan.Descriptor{Number: 0}))
	}
	if err := c.closeOthers(p); err != nil {
		return nil, err
	}
	program := c.findProgram(p)
	p.Section(chapter, "the working directory")
	enter, asUser := changeDirectory(p, s.Process.Cwd)
	p.Add(enter...)
	p.Section(chapter, "files get the mode that the configuration says")
	p.Add(plan.Umask(umaskOf(s.Process.User)))
	if len(c.Begin) > 0 && c.Handover == nil && !c.Namespaces.Has(unix.CLONE_NEWUSER) {
		// While it waits for start, others can see it that have the same rights:
		// those of a pid namespace that it shares, and who enters by exec. In a user
		// namespace they have no rights over our file; and an ordinary user, who made
		// it, could not enter himself any more.
		p.Add(plan.NotDumpable())
	}
	rights, warnings, err := c.rights()
	if err != nil {
		return nil, err
	}
	rights.AsUser = asUser
	more, err := rights.Steps(p)
	if err != nil {
		return nil, err
	}
	p.Section(chapter, WaitForStart)
	p.Add(c.Begin...)
	p.Section(chapter, "the program")
	p.Add(plan.SetSignalMask(0))
	rights.LastSteps(p)
	p.Add(program...)
	return append(warnings, more...), rights.Check(p)
}

// closeOthers adds the steps that close what the process has open of the host's. Until
// its execve(2) a path like /proc/self/fd/7/../.. would lead out through a folder among
// them: as the working directory, as the program, as the interpreter that a script or
// an ELF file names and that only the kernel looks up (CVE-2024-21626). Kept are those
// that the program inherits, and the pipes and sockets of the steps to come.
func (c *Container) closeOthers(p *plan.Plan) error {
	reserved, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	c.attributes.reserved = reserved
	alive := plan.Descriptor{Number: int(reserved.Fd()), Name: "reserved"}
	keep := []int{alive.Number}
	for _, s := range c.Begin {
		keep = append(keep, s.Descriptors()...)
	}
	if c.Handover != nil {
		keep = append(keep, c.Handover.Parent.Number, c.Handover.Child.Number)
	}
	p.Section(chapter, "nothing of the host's is open")
	p.Add(plan.HoldAlive(p, alive))
	for _, s := range plan.CloseOthers(3+c.KeepDescriptors, slices.Compact(slices.Sorted(slices.Values(keep)))...) {
		p.Add(s)
	}
	p.Add(plan.CloseOnExec(3 + c.KeepDescriptors))
	return nil
}

// rights are what the process may do.
func (c *Container) rights() (r *security.Rights, warnings []string, err error) {
	r = &security.Rights{Process: c.Spec.Process, Handover: c.Handover}
	if profile := c.Spec.Linux.Seccomp; profile != nil {
		if r.Filter, warnings, err = seccomp.Compile(profile); err != nil {
			return nil, nil, err
		}
	}
	if !c.Namespaces.Has(unix.CLONE_NEWUSER) {
		if r.Withheld, err = security.Withheld(); err != nil {
			return nil, nil, err
		}
	}
	r.SetgroupsDenied, err = c.setgroupsDenied()
	return r, warnings, err
}

// setgroupsDenied tells whether the process may not choose its groups: in a user
// namespace that an ordinary user has made, or in one where we may not ourselves.
func (c *Container) setgroupsDenied() (bool, error) {
	if c.Namespaces.New(unix.CLONE_NEWUSER) {
		return namespace.Maps{UIDs: c.Spec.Linux.UIDMappings, GIDs: c.Spec.Linux.GIDMappings}.DeniesSetgroups()
	}
	if c.Init != 0 {
		return namespace.SetgroupsDenied(c.Init)
	}
	return namespace.SetgroupsDenied(os.Getpid())
}

// umaskOf is the umask of the program: 022 unless the configuration says
// otherwise, as in runc.
func umaskOf(u specs.User) uint32 {
	if u.Umask != nil {
		return *u.Umask & 0o777
	}
	return 0o022
}
