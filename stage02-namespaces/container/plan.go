package container

import (
	"errors"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
	"skiff.example/stage02-namespaces/pid1"
)

// The plan: what the first process of a container does to itself, in its new
// namespaces, before it becomes the program.

// Plan is the plan as Run carries it out, to be printed.
func (c *Container) Plan() (p *plan.Plan, err error) {
	var gate *launch.Gate
	if c.waits() {
		if gate, err = launch.NewGate(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, gate.Close()) }() // nobody waits there
	}
	p, done, err := c.plan(gate)
	if err != nil {
		return nil, err
	}
	return p, done()
}

// plan is the plan of a process that waits at gate, unless that is nil. done
// closes the files that the plan refers to.
func (c *Container) plan(gate *launch.Gate) (p *plan.Plan, done func() error, err error) {
	p, done = &plan.Plan{}, func() error { return nil }
	if c.Root != "" && !c.Namespaces.New(unix.CLONE_NEWNS) {
		return nil, nil, errors.New("a container with a root needs a new mount namespace: in a joined one it would replace the root of all who are in it")
	}
	c.Namespaces.Steps(p)
	if gate != nil {
		p.Section(chapter, "wait until the parent has written the id maps")
		if c.Prepare.Do != nil {
			p.Section(c.Prepare.Chapter, c.Prepare.Title)
		}
		p.Add(gate.Steps()...)
	}
	c.Namespaces.LateSteps(p)
	c.identity(p)
	p.Section(chapter, "no container without its parent")
	p.Add(plan.ParentDeathSignal(unix.SIGKILL)) // a change of ids would undo it: prctl(2)
	if c.Namespaces.New(unix.CLONE_NEWNET) {
		p.Section(chapter, "a network of its own")
		p.Add(plan.LoopbackUp(p)...)
	}
	if c.Hostname != "" && c.Namespaces.New(unix.CLONE_NEWUTS) {
		p.Section(chapter, "a name of its own")
		p.Add(plan.Sethostname(c.Hostname).Hint(unix.EINVAL, "a host name has at most 64 bytes"))
	}
	if c.Namespaces.New(unix.CLONE_NEWNS) {
		mount.Detach(p, unix.MS_PRIVATE)
	}
	if c.Root != "" {
		if done, err = c.fileSystem(p); err != nil {
			return nil, nil, err
		}
	}
	c.program(p)
	return p, done, nil
}

// identity adds the steps by which the process becomes who it is to be: root, with
// none of the groups of whoever has called us (CVE-2022-2989).
func (c *Container) identity(p *plan.Plan) {
	own := c.Namespaces.Has(unix.CLONE_NEWUSER)
	if own || c.Root != "" {
		p.Section(chapter, "root, and in no other group")
	}
	if c.Root != "" {
		leave := plan.Setgroups()
		if c.restricted() { // there it may be denied, for good reasons: user_namespaces(7)
			leave = leave.Accept(unix.EPERM)
		}
		p.Add(leave)
	}
	if own {
		p.Add(plan.Setresgid(0), plan.Setresuid(0))
	}
}

// restricted tells whether the container is in another user namespace than the
// first one, where nobody may do everything: its own, or that of a container in
// which all of this runs.
func (c *Container) restricted() bool {
	return c.Namespaces.Has(unix.CLONE_NEWUSER) || !namespace.InFirstUser()
}

// fileSystem adds the steps that build the container's tree of mounts on its
// root, and leave the host's.
func (c *Container) fileSystem(p *plan.Plan) (done func() error, err error) {
	if c.Layers != nil {
		if err := c.Layers(p); err != nil {
			return nil, err
		}
	}
	r := mount.NewRoot(p, c.Root)
	if c.restricted() {
		r.OwnUserNamespace(c.Maps.UIDs, c.Maps.GIDs)
	}
	p.Section(chapter, "files get the mode that they ask for")
	p.Add(plan.Umask(0))
	if c.Init {
		if err := pid1.CheckMounts(c.Mounts); err != nil {
			return nil, err
		}
	}
	for _, m := range append(Mounts(), c.Mounts...) {
		if err := r.Mount(m); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	if c.Fill != nil {
		if err := c.Fill(r); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	if err := r.Devices(mount.DefaultDevices()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if c.Init {
		small, err := pid1.Mount()
		if err == nil {
			err = r.Mount(small)
		}
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	r.ReadOnlyPath("/proc/sys")                   // the kernel's settings are the host's
	r.ReadOnlyPath("/proc/sysrq-trigger")         // which reboots the host
	if err := r.Mask("/proc/kcore"); err != nil { // the memory of the kernel
		return nil, errors.Join(err, r.Close())
	}
	r.Pivot()
	p.Section(chapter, "the usual file mode mask")
	p.Add(plan.Umask(0o022))
	return r.Close, nil
}

// program adds the steps that become the program.
func (c *Container) program(p *plan.Plan) {
	if c.Process != nil {
		c.Process(p)
	}
	if c.passesTerminal() {
		takeTerminal(p)
	}
	closeAll(p)
	p.Section(chapter, "the program")
	p.Add(plan.SetSignalMask(0))
	switch {
	case c.Init:
		p.Add(plan.Execve(pid1.Path, append([]string{pid1.Path}, c.Argv...), c.Env))
	case c.Path != "":
		p.Add(plan.Execve(c.Path, c.Argv, c.Env))
	default:
		p.Add(execvp.Steps(c.Argv, c.Env)...)
	}
}

// closeAll adds the steps that close all that this process has open of the host's, but
// standard input, output and error. Closing it on execve(2) would be too late: a path
// like /proc/self/fd/7/../../bin/sh leads out through a folder among them, as the
// program or as the interpreter that a script names (CVE-2024-21626). What tells the
// parent that the plan goes on becomes the first of the others.
func closeAll(p *plan.Plan) {
	const first = 3
	p.Section(chapter, "nothing of the host's is open")
	p.Add(plan.HoldAlive(p, plan.Descriptor{Number: first}))
	p.Add(plan.CloseOthers(first + 1)...)
}
