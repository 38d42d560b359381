// Package mount turns the mounts of a container into steps of its plan: a
// root of its own, what is mounted in it, its devices, and what is hidden.
//
// The steps use the mount calls of Linux 5.2 and newer: a file system is
// configured (fsopen, fsconfig), becomes a mount that is attached nowhere
// (fsmount), and is then moved onto a descriptor (move_mount). The place where
// it goes is opened once, below the root's descriptor and never outside it
// (openat2 with RESOLVE_IN_ROOT); whoever swaps a directory for a symbolic
// link afterwards changes nothing (CVE-2021-30465). See mount_namespaces(7),
// pivot_root(2), openat2(2).
package mount

import (
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 2

// A Root is a container's root file system in the making. Its methods add
// steps to the plan, for a child that has a mount namespace of its own; the
// last one to call is Pivot.
type Root struct {
	plan     *plan.Plan
	fd       plan.Register // the root directory, as a mount of its own
	null     plan.Register // the host's /dev/null, for masking files
	nullSeen bool          // it has been looked at

	view        *view       // what the parent can see of it
	user        *idMap      // of the process's own user namespace, or nil
	propagation Propagation // of the root in the end
	later       []later     // what becomes read-only in the end
	copies      int         // how many entries tmpcopyup has copied
	warnings    []string

	files []*os.File                 // for the child, until Close
	users map[string]plan.Descriptor // user namespaces among them, by their maps
}

// NewRoot adds the steps that make the directory at path, with all mounts
// below it, a mount of its own: pivot_root(2) wants one, and the attributes
// of this mount can then be changed without touching the host's.
func NewRoot(p *plan.Plan, path string) *Root {
	r := &Root{plan: p, fd: p.Register("root"), null: p.Register("null"), view: newView(p, path)}
	place := p.Register("place")
	p.Section(chapter, "a root file system")
	p.Add(
		plan.OpenTree(plan.CWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE).
			Into(r.fd).Doing("open root file system %q", path).
			Hint(unix.ENOENT, "the root file system does not exist"),
		plan.Openat2(plan.CWD, path, directory(0)).Into(place).Doing("open root file system %q", path),
		plan.MoveMount(r.fd, place).Doing("mount root file system %q on itself", path),
		// A mask covers a file with /dev/null. It is opened while the root is
		// still the host's: a container's own could be anything
		// (CVE-2025-31133).
		plan.OpenTree(plan.CWD, "/dev/null", unix.OPEN_TREE_CLOEXEC).Into(r.null),
	)
	return r
}

// Warnings say which options of the mounts so far have no effect.
func (r *Root) Warnings() []string { return r.warnings }

// FD is the register that holds the root directory.
func (r *Root) FD() plan.Register { return r.fd }

// ReadOnly adds the step that makes the root mount read-only, which must come
// after everything that makes files in it.
func (r *Root) ReadOnly() {
	r.plan.Section(chapter, "a read-only root")
	r.plan.Add(plan.MountSetattr(r.fd, 0, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).
		Doing("make the root read-only"))
}

// Pivot adds the steps that make the root the process's root and drop the
// host's; the mounts that were promised to be read-only are made so before, and
// the root's propagation is set after. pivot_root(".", ".") puts the old root on
// top of the new one, so no directory is needed for it; unmounting "." then takes
// it away.
func (r *Root) Pivot() {
	r.readOnlyNow()
	r.plan.Section(chapter, "leave the host's file system")
	r.plan.Add(
		plan.Fchdir(r.fd).Doing("change directory to the new root"),
		plan.PivotRoot(".", "."),
		plan.Umount2(".", unix.MNT_DETACH).Doing("unmount the host's file system"),
		plan.Chdir("/"),
	)
	r.propagate()
}

// directory opens a directory only to stand in it or to look below it.
func directory(resolve uint64) unix.OpenHow {
	return unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}
}

// anything opens whatever is there, without the right to read it.
func anything(resolve uint64) unix.OpenHow {
	return unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
}
