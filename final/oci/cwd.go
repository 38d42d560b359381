package oci

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The working directory of a program: runtime-spec config.md, "cwd"; openat2(2).

// makeDirectory adds the steps that make the working directory where it is missing, as
// runc does, each part of it by the descriptor of the one above: a link of the image
// leads to a place in the image (CVE-2024-45310). What cannot be made is told by
// changeDirectory, which does not find it.
func makeDirectory(p *plan.Plan, root plan.FD, dir string) {
	parts := strings.Split(strings.Trim(path.Clean(dir), "/"), "/")
	if parts[0] == "" {
		return
	}
	there, above := p.Register("cwd"), p.Register("parent")
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	open := func(name string) plan.Step {
		return plan.Openat2(root, name, how).Doing("change directory to %q", dir).Accept(unix.ENOENT, unix.EACCES, unix.ENOTDIR)
	}
	p.Section(chapter, "make the working directory")
	p.Add(open(path.Join(parts...)).Into(there))
	for i, part := range parts {
		p.Add(
			open(path.Join(".", path.Join(parts[:i]...))).Into(above).Unless(there),
			plan.Mkdirat(above, part, 0o755).Doing("make directory %q", dir).Unless(there).When(above).
				Accept(unix.EEXIST, unix.EACCES, unix.EROFS),
		)
	}
}

// changeDirectory opens the working directory below the root and steps into
// what was opened, so the process is inside its root, whatever getcwd(2) would say. A
// path like /proc/self/fd/7 would lead out through a descriptor that the parent has
// left open (CVE-2024-21626): links of that kind are not followed.
//
// before are the steps for a process that is still root, since the user may have no
// right to go there. after are those for one that has become the user, and root had
// none: so it is in a FUSE file system, or where root of a user namespace is nobody.
func changeDirectory(p *plan.Plan, dir string) (before, after []plan.Step) {
	cwd, entered := p.Register("cwd"), p.Register("entered")
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	const missing = "process.cwd must exist in the container"
	open := plan.Openat2(plan.CWD, dir, how).Into(cwd).Doing("change directory to %q", dir).Hint(unix.ENOENT, missing)
	enter := plan.Fchdir(cwd).Into(entered).Doing("change directory to %q", dir)
	before = []plan.Step{open.Accept(unix.EACCES), enter.Accept(unix.EACCES).When(cwd)}
	return before, []plan.Step{open.Unless(entered), enter.Unless(entered)}
}
