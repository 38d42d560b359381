package mount

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The place that a mount goes to: found, or made, below the root and never
// outside it (openat2(2)).

// point adds the steps that open the place dest inside the root as a
// descriptor, and returns the register that holds it. Where there is nothing,
// a directory is made, or an empty file for the mount of a file.
//
// Every name is looked up in the root (RESOLVE_IN_ROOT), as the container
// will see it: an absolute symbolic link of the image leads to a place in the
// image. proc and sysfs are stricter, see resolveFor.
func (r *Root) point(dest string, file bool, resolve uint64) plan.Register {
	target, parent := r.plan.Register("target"), r.plan.Register("parent")
	name := inRoot(dest)
	open := plan.Openat2(r.fd, name, anything(resolve)).Into(target).
		Doing("open mount point %q", dest).
		Hint(unix.ELOOP, "the root file system has a symbolic link where a directory is needed")
	r.plan.Add(open.Accept(unix.ENOENT))
	if name == "." {
		return target // the root itself is always there
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		above := "."
		if i > 0 {
			above = path.Join(parts[:i]...)
		}
		r.plan.Add(plan.Openat2(r.fd, above, directory(resolve)).Into(parent).Unless(target).
			Doing("open %q, above mount point %q", "/"+above, dest))
		r.plan.Add(makePlace(parent, part, file && i == len(parts)-1).Accept(unix.EEXIST).Unless(target).
			Doing("make mount point %q", dest).
			Hint(unix.EROFS, "the root file system is read-only and has no such mount point"))
	}
	r.plan.Add(open.Unless(target))
	return target
}

// makePlace makes an empty file or a directory.
func makePlace(parent plan.FD, name string, file bool) plan.Step {
	if file {
		return plan.Mknodat(parent, name, unix.S_IFREG|0o644, 0)
	}
	return plan.Mkdirat(parent, name, 0o755)
}

// inRoot is an absolute path as a name relative to the root's descriptor.
func inRoot(dest string) string {
	name := strings.TrimPrefix(path.Clean("/"+dest), "/")
	if name == "" {
		return "."
	}
	return name
}

// resolveFor says how the place for a file system of this type is looked up.
// A /proc that is a symbolic link would send writes meant for the kernel
// somewhere else (CVE-2019-16884, CVE-2023-27561): for proc and sysfs no
// symbolic link is followed.
func resolveFor(fstype string) uint64 {
	if fstype == "proc" || fstype == "sysfs" {
		return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS
	}
	return unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
}
