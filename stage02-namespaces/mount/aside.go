package mount

// A root for a process that keeps the mount namespace of its parent
// (mount_namespaces(7)). Whatever it mounted there, the host would have as
// well, and pivot_root(2) would move the host's own root.
//
// So the process steps aside: it makes a mount namespace, puts its root
// together there like any other, takes a copy of it that is attached nowhere
// (open_tree(2)), and goes back (setns(2)) with that copy as its root. On the
// host nothing is mounted, so nothing is left when the process ends. Inside,
// nothing can be mounted or unmounted: its mounts are in no namespace.

import (
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// home is the register that holds the mount namespace to go back to.
const home = "mount_namespace"

// StepAside adds the steps that leave the mount namespace of the parent for
// now. It comes before NewRoot, and Return is called in place of Root.Pivot.
func StepAside(p *plan.Plan) {
	p.Section(chapter, "a mount namespace to put the root together in")
	p.Add(
		plan.Openat2(plan.CWD, "/proc/self/ns/mnt", unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}).Into(p.Register(home)),
		plan.Unshare(unix.CLONE_NEWNS),
	)
}

// Return adds the steps that go back after StepAside, with the root. It takes
// CAP_SYS_ADMIN in the user namespace that the parent's mount namespace belongs
// to, so a process with a user namespace of its own cannot.
func (r *Root) Return() {
	r.readOnlyNow()
	tree := r.plan.Register("tree")
	r.plan.Section(chapter, "back to the mount namespace of the parent, in the new root")
	r.plan.Add(
		plan.OpenTree(r.fd, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE).Into(tree).
			Doing("take the root along"),
		plan.Setns(r.plan.Register(home), unix.CLONE_NEWNS),
		plan.Fchdir(tree).Doing("change directory to the new root"),
		plan.Chroot("."),
	)
}
