package oci

import (
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
)

// Which program is executed: runtime-spec config.md, "args", and execvp(3).

// WithProcess is the configuration that a container is made from. It may have no
// process ("process" in config.md is required when start is called): such a
// container is root in its root, and has no program.
func WithProcess(s *specs.Spec) *specs.Spec {
	if s.Process != nil {
		return s
	}
	filled := *s
	filled.Process = &specs.Process{Cwd: "/"}
	return &filled
}

// noProgram is the exit status of a process that was to execute none.
const noProgram = 127

// findProgram adds the steps that make sure the program is there, so that a
// wrong name is an error of create and not of start, and returns the steps
// that execute it.
func (c *Container) findProgram(p *plan.Plan) []plan.Step {
	p.Section(chapter, "find the program")
	process, args := c.Spec.Process, c.Spec.Process.Args
	switch {
	case len(args) == 0: // create takes a configuration without process, and start refuses it
		return []plan.Step{plan.Exit(noProgram)}
	case c.path != "":
		return []plan.Step{plan.Execve(c.path, args, process.Env)}
	}
	if name := args[0]; strings.Contains(name, "/") && !path.IsAbs(name) {
		// Relative to process.cwd, which is not yet the current directory.
		look := plan.Faccessat2(plan.CWD, path.Join(process.Cwd, name))
		p.Add(look.Doing("find %q", name).Hint(unix.ENOENT, "it is looked for in process.cwd, "+process.Cwd))
	} else {
		p.Add(execvp.Look(p.Register("program"), args, process.Env)...)
		if len(c.Begin) > 0 && path.IsAbs(name) {
			p.Add(refuseFolder(p, name)...)
		}
	}
	return execvp.Steps(args, process.Env)
}

// refuseFolder are the steps that fail if the program is a folder: the look before has
// nothing against that, but execve(2) will, and as in runc it is an error of create.
// To write to a folder is the error, of a call that does nothing else.
func refuseFolder(p *plan.Plan, program string) []plan.Step {
	folder, inside := p.Register("folder"), program+"/."
	return []plan.Step{
		plan.Faccessat2(plan.CWD, inside).Into(folder).Accept(unix.ENOTDIR, unix.EACCES, unix.ENAMETOOLONG).Doing("find %q", program),
		plan.Openat2(plan.CWD, inside, unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC}).When(folder).
			Doing("execute %q: permission denied", program),
	}
}
