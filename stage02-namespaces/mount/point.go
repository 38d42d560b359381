package mount

import (
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The place that a mount goes to: found, or made, below the root and never
// outside it (openat2(2)).

// point adds the steps that open the place dest inside the root as a
// descriptor, and returns the register that holds it. Where there is nothing,
// a directory is made, or an empty file for the mount of a file.
//
// name is dest, or where its links lead as far as the parent can see
// (place): what a dangling link points to must be made there. Still,
// every name is looked up in the root (RESOLVE_IN_ROOT), as the container
// will see it: an absolute symbolic link of the image leads to a place in the
// image. proc and sysfs are stricter, see resolveFor.
func (r *Root) point(dest, name string, file bool, resolve uint64) plan.Register {
	target, parent := r.plan.Register("target"), r.plan.Register("parent")
	open := plan.Openat2(r.fd, name, anything(resolve)).Into(target).
		Doing("open mount point %q", dest).
		Hint(unix.ELOOP, "the root file system has a symbolic link where a directory is needed, or links in a circle").
		Hint(unix.EXDEV, "the root file system has a symbolic link there, which leads into another mount, such as /proc or /dev: name that place itself").
		Hint(unix.EAGAIN, "somebody renames directories in the root file system, again and again")
	r.plan.Add(open.Accept(unix.ENOENT))
	if name == "." || len(name) >= unix.PathMax {
		return target // the root itself is always there; and nothing has such a long name
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

// place is point for a mount: at the name that the links of the image lead to, or
// where none may lead at the destination itself.
func (r *Root) place(m specs.Mount, resolved string, file bool) plan.Register {
	name := resolved
	if isKernels(m) {
		name = inRoot(m.Destination)
	}
	return r.point(m.Destination, name, file, r.resolveFor(m, resolved))
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
