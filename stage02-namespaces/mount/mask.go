package mount

import (
	"fmt"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// What a container must not see or change of /proc and /sys, which show the one
// kernel that all containers share: proc(5), sysfs(5).

// Mask adds the steps that hide a path, if it is there: a directory behind an
// empty read-only tmpfs, anything else behind /dev/null. runtime-spec
// config-linux.md, "Masked Paths".
//
// Which of the two it is only the kernel knows when the plan runs, so both
// are in the plan: the first opening succeeds for directories only.
//
// A host whose /dev/null is something else is an error: whatever covers the
// path would be there for the container to read (CVE-2025-31133).
func (r *Root) Mask(path string) error {
	if !r.nullSeen {
		if err := checkNull(); err != nil {
			return fmt.Errorf("mask %q: %w", path, err)
		}
		r.nullSeen = true
	}
	p := r.plan
	dir, file := p.Register("masked_dir"), p.Register("masked_file")
	fs, cover := p.Register("fs"), p.Register("cover")
	inside := uint64(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS)
	p.Section(chapter, "hide what is not the container's business")
	for _, s := range []plan.Step{
		plan.Openat2(r.fd, inRoot(path), directory(inside)).Into(dir).Accept(unix.ENOENT, unix.ENOTDIR),
		plan.Fsopen("tmpfs").Into(fs).When(dir),
		plan.FsconfigCreate(fs).When(dir),
		plan.Fsmount(fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).
			Into(cover).When(dir),
		plan.MoveMount(cover, dir).When(dir),

		plan.Openat2(r.fd, inRoot(path), anything(inside)).Into(file).Accept(unix.ENOENT).Unless(dir),
		plan.OpenTree(r.null, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH).
			Into(cover).When(file).Unless(dir),
		// The device is the host's own: read-only, so that nobody in here
		// changes its mode or owner. Writing to it still works.
		plan.MountSetattr(cover, 0, unix.MountAttr{
			Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC,
		}).When(file).Unless(dir),
		plan.MoveMount(cover, file).When(file).Unless(dir),
	} {
		p.Add(s.Doing("mask %q", path))
	}
	return nil
}

// checkNull makes sure that the host's /dev/null is that: null(4).
func checkNull() error {
	var s unix.Stat_t
	if err := unix.Lstat("/dev/null", &s); err != nil {
		return fmt.Errorf("look at the host's /dev/null: %w", err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFCHR || s.Rdev != unix.Mkdev(1, 3) {
		return hint.Add(fmt.Errorf("the host's /dev/null is not the character device 1:3, but mode %#o, device %d:%d: %w",
			s.Mode, unix.Major(s.Rdev), unix.Minor(s.Rdev), unix.ENODEV), "mknod -m 666 /dev/null c 1 3")
	}
	return nil
}

// ReadOnlyPath adds the steps that make a path, and all mounts below it,
// read-only, if it is there: it is mounted on itself, because the attribute
// belongs to a mount. runtime-spec config-linux.md, "Readonly Paths".
func (r *Root) ReadOnlyPath(path string) {
	p := r.plan
	target, mounted := p.Register("readonly"), p.Register("mounted")
	p.Section(chapter, "read-only parts of /proc and /sys")
	for _, s := range []plan.Step{
		plan.Openat2(r.fd, inRoot(path), anything(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)).
			Into(target).Accept(unix.ENOENT),
		plan.OpenTree(target, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE).
			Into(mounted).When(target),
		plan.MountSetattr(mounted, unix.AT_RECURSIVE, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}).When(target),
		plan.MoveMount(mounted, target).When(target),
	} {
		p.Add(s.Doing("make %q read-only", path))
	}
}
