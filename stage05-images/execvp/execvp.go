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
)

// DefaultPath is where a program is looked for when env has no PATH.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Steps executes args, which must not be empty. A name with a slash is a path;
// any other is looked for in the absolute directories of env's PATH.
func Steps(args, env []string) []plan.Step {
	if strings.Contains(args[0], "/") {
		return []plan.Step{plan.Execve(args[0], args, env)}
	}
	search := pathOf(env)
	var steps []plan.Step
	for dir := range strings.SplitSeq(search, ":") {
		if !path.IsAbs(dir) {
			continue // what it means would depend on the current directory
		}
		steps = append(steps, plan.Execve(path.Join(dir, args[0]), args, env).Doing("execute %q", args[0]).
			Hint(unix.ENOENT, "no directory of the container's PATH has it: "+search))
	}
	for i := range len(steps) - 1 {
		steps[i] = steps[i].Accept(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
	}
	return steps
}

// pathOf is the last PATH of env.
func pathOf(env []string) string {
	search := DefaultPath
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			search = value
		}
	}
	return search
}
