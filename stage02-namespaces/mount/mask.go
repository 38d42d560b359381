package mount

import (
	"golang.org/x/sys/unix"

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
func (r *Root) Mask(path string) {
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
