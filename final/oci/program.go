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

// findProgram adds the steps that make sure the program is there, so that a
// wrong name is an error of create and not of start, and returns the steps
// that execute it.
func findProgram(p *plan.Plan, process *specs.Process) []plan.Step {
	p.Section(chapter, "find the program")
	args := process.Args
	if name := args[0]; strings.Contains(name, "/") && !path.IsAbs(name) {
		// Relative to process.cwd, which is not yet the current directory.
		look := plan.Faccessat2(plan.CWD, path.Join(process.Cwd, name))
		p.Add(look.Doing("find %q", name).Hint(unix.ENOENT, "it is looked for in process.cwd, "+process.Cwd))
	} else {
		p.Add(execvp.Look(p.Register("program"), args, process.Env)...)
	}
	return execvp.Steps(args, process.Env)
}
