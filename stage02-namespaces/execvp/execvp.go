// Package execvp makes the last steps of a container's plan: they find its
// program along PATH and become it, as execvp(3) does.
//
// The parent cannot look for the program, because only the container's own
// process sees the container's files. So each directory is tried in turn.
package execvp

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// DefaultPath is where a program is looked for when env has no PATH.
const DefaultPath = binfmt.DefaultPath

// Steps executes args, which must not be empty. A name with a slash is a path;
// any other is looked for in the absolute directories of env's PATH.
func Steps(args, env []string) []plan.Step {
	var steps []plan.Step
	for _, program := range Candidates(args[0], env) {
		steps = append(steps, plan.Execve(program, args, env).Doing("execute %q", args[0]))
	}
	return oneSuffices(steps, args[0], env)
}

// Look only looks whether Steps would find the program, and stores in found
// that it has: the same directories, in the same order, with the same errors.
func Look(found plan.Register, args, env []string) []plan.Step {
	var steps []plan.Step
	for i, program := range Candidates(args[0], env) {
		look := plan.Faccessat2(plan.CWD, program).Into(found).Doing("find %q", args[0])
		if i > 0 {
			look = look.Unless(found)
		}
		steps = append(steps, look)
	}
	return oneSuffices(steps, args[0], env)
}

// oneSuffices lets all steps but the last fail as a directory without the
// program does; the last failure is the plan's.
func oneSuffices(steps []plan.Step, name string, env []string) []plan.Step {
	for i := range steps {
		if i < len(steps)-1 {
			steps[i] = steps[i].Accept(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
		if !strings.Contains(name, "/") {
			steps[i] = steps[i].Hint(unix.ENOENT, "no directory of PATH has it: "+PathOf(env))
		}
	}
	return steps
}

// Candidates are the paths at which the program may be, in the order in which
// they are tried: name itself where it has a slash or is empty, else one for each absolute
// directory of the PATH of env.
func Candidates(name string, env []string) []string {
	if name == "" || strings.Contains(name, "/") {
		return []string{name}
	}
	var all []string
	for dir := range strings.SplitSeq(PathOf(env), ":") {
		if path.IsAbs(dir) { // what another one means would depend on the current directory
			all = append(all, path.Join(dir, name))
		}
	}
	if len(all) == 0 {
		return []string{"/" + name} // a PATH without directories: nothing can be found, and the error says so
	}
	return all
}

// PathOf is the last PATH of env, or DefaultPath where it has none.
func PathOf(env []string) string {
	search := DefaultPath
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	return search
}
