package mount

import (
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The container's terminal as /dev/console: pts(4), console(4).

// Console adds the steps that make the terminal that slave is open on also
// the file /dev/console, as the specification wants it: config-linux.md,
// "Default Devices". The terminal is a descriptor, never a name: a /dev/pts/0
// could be swapped for a link to a file of the kernel's before it is mounted
// (CVE-2025-52565). Nor is a link followed where it goes.
func (r *Root) Console(slave plan.FD) {
	if r.isHosts("/dev/console") {
		return // the host's own folder is not changed, see Devices
	}
	mounted := r.plan.Register("mounted")
	r.plan.Section(chapter, "console")
	target := r.point("/dev/console", "dev/console", true, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
	for _, s := range []plan.Step{
		plan.OpenTree(slave, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).Into(mounted),
		plan.MoveMount(mounted, target),
	} {
		r.plan.Add(s.Doing("mount the terminal on /dev/console"))
	}
}
