package oci

import (
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Which program is executed: runtime-spec config.md, "args", and execvp(3).

// defaultPath is where a program is looked for when the container's
// environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findProgram adds the steps that make sure the program is there, so that a
// wrong name is an error of create and not of start, and returns the steps
// that execute it.
//
// A name without a slash is looked for along the container's PATH, as
// execvp(3) does. The parent cannot do that: only the container's process
// sees its mounts.
func findProgram(p *plan.Plan, process *specs.Process) []plan.Step {
	name := process.Args[0]
	p.Section(chapter, "find the program")
	if strings.Contains(name, "/") {
		// A relative name is relative to process.cwd.
		if !path.IsAbs(name) {
			name = path.Join(process.Cwd, name)
		}
		p.Add(plan.Faccessat2(plan.CWD, name).Doing("execute %q", name).
			Hint(unix.ENOENT, "the container has no such file").
			Hint(unix.EACCES, "the file has no execute permission, or its mount is noexec"))
		return []plan.Step{plan.Execve(name, process.Args, process.Env)}
	}
	found := p.Register("program")
	var run []plan.Step
	candidates := candidatesFor(name, process.Env)
	for i, c := range candidates {
		look := plan.Faccessat2(plan.CWD, c).Into(found)
		execute := plan.Execve(c, process.Args, process.Env)
		if i > 0 {
			look = look.Unless(found)
		}
		if i < len(candidates)-1 {
			look = look.Accept(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
			execute = execute.Accept(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
		p.Add(look.Doing("find %q in PATH", name).
			Hint(unix.ENOENT, "the container's PATH is "+pathOf(process.Env)))
		run = append(run, execute.Doing("execute %q", name))
	}
	return run
}

// candidatesFor are the paths at which a name is looked for.
func candidatesFor(name string, env []string) []string {
	var all []string
	for _, dir := range strings.Split(pathOf(env), ":") {
		if path.IsAbs(dir) { // a relative one would depend on the directory: execvp's old trap
			all = append(all, path.Join(dir, name))
		}
	}
	if len(all) == 0 {
		return []string{"/" + name}
	}
	return all
}

// pathOf is the value of PATH in an environment.
func pathOf(env []string) string {
	value := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			value = v
		}
	}
	return value
}
