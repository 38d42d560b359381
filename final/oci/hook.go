package oci

import (
	"fmt"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security"
	"skiff.example/stage01-chroot/plan"
)

// A hook is a plan, too: where it runs (setns(2)), what it reads and writes
// (dup3(2)), and its program. runtime-spec config.md, "POSIX-platform Hooks".

// Streams are the descriptors that a hook gets as its standard ones.
type Streams struct {
	Stdin  plan.Descriptor // the container's state
	Output plan.Descriptor // for what it says, on stdout and stderr
}

// steps adds the steps that make them descriptors 0 to 2.
func (s Streams) steps() []plan.Step {
	return []plan.Step{plan.Dup3(s.Stdin, 0), plan.Dup3(s.Output, 1), plan.Dup3(s.Output, 2)}
}

// HookPlan makes the plan of a hook that somebody on the host has chosen: its
// program is the host's, and it has this process's rights. Namespaces and
// Entrances say whether it runs in the container all the same, as the hooks
// createContainer do while the container's root is still the host's; then it is
// root there. dir is its working directory.
//
// begin are steps that wait until this process knows that the hook ends with it.
//
// Its environment is what the hook says and nothing else, neither this process's
// nor the image's: with LD_PRELOAD of an image a hook ran the image's code with
// all rights of the host (CVE-2025-23266).
func (c *Container) HookPlan(h specs.Hook, dir string, streams Streams, begin []plan.Step) (*plan.Plan, error) {
	p := c.newPlan()
	enter := openCgroups(p, c.Entrances)
	c.Namespaces.Steps(p)
	enter()
	if c.Namespaces.Has(unix.CLONE_NEWUSER) {
		p.Section(2, "root of the container's user namespace")
		p.Add(plan.Setgroups().Accept(unix.EPERM), plan.Setresgid(0), plan.Setresuid(0))
	}
	p.Section(chapter, "a hook")
	// A session of its own: its timeout ends what it has started as well. With
	// this process it ends, too: poststop must not run while it still works.
	p.Add(plan.Setsid(), plan.ParentDeathSignal(unix.SIGKILL))
	p.Add(begin...)
	p.Add(plan.Umask(0o022), plan.Chdir(dir))
	p.Add(streams.steps()...)
	if err := security.RestoreLimits(p); err != nil {
		return nil, err
	}
	p.Add(plan.CloseOnExec(3), plan.SetSignalMask(0), plan.Execve(h.Path, hookArgs(h), h.Env))
	return p, nil
}

// StartHookPlan makes the plan of a hook startContainer, whose program is the
// container's own: it becomes what Spec says of the container's process, user,
// rights, seccomp filter and labels, and differs in its program only. So do runc and
// crun; with more rights the image would run its code with those of the host.
// Namespaces joins those of Init.
func (c *Container) StartHookPlan(h specs.Hook, streams Streams, given ...plan.Descriptor) (*plan.Plan, error) {
	process := *c.Spec.Process
	process.Args, process.Env, process.Terminal = hookArgs(h), h.Env, false
	spec := *c.Spec
	spec.Process = &process
	c.Spec, c.streams, c.path = &spec, streams.steps(), h.Path
	p, _, err := c.ExecPlan(given...) // create has passed the warnings on
	return p, err
}

// hookArgs are the arguments of a hook, with its name first even if it has none.
func hookArgs(h specs.Hook) []string {
	if len(h.Args) == 0 {
		return []string{h.Path}
	}
	return h.Args
}

// validateHooks refuses what cannot be: config.md, "POSIX-platform Hooks".
func validateHooks(h *specs.Hooks) error {
	for _, hook := range allHooks(h) {
		if !path.IsAbs(hook.Path) {
			return fmt.Errorf("hooks: path %q is not absolute", hook.Path)
		}
		if hook.Timeout != nil && *hook.Timeout <= 0 {
			return fmt.Errorf("hooks: %q: timeout %d is not above 0", hook.Path, *hook.Timeout)
		}
	}
	return nil
}

// allHooks are the hooks of all kinds.
func allHooks(h *specs.Hooks) []specs.Hook {
	if h == nil {
		return nil
	}
	//lint:ignore SA1019 prestart is deprecated, and in use
	return slices.Concat(h.Prestart, h.CreateRuntime, h.CreateContainer, h.StartContainer, h.Poststart, h.Poststop)
}
