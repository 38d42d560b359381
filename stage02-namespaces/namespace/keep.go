package namespace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Namespaces that outlive their processes: a namespace lives for as long as a
// process is in it or a file refers to it, and a bind mount is a file that
// stays. namespaces(7), "Namespace lifetime"; ip-netns(8) does the same with
// network namespaces.

// Keep makes the file path, which must not exist yet, and mounts a process's
// namespace of this kind on it. The namespace then lives on without a process,
// and can be joined by that path, until Forget.
//
// Two kinds have rules of their own. A mount namespace can be kept only in a
// mount of an older one: not in its own, nor in one that was made after it, and
// not where the mount would be propagated (EINVAL). A pid namespace is kept, but nobody can enter it once
// its process 1 has ended (ENOMEM).
func Keep(pid int, kind Kind, path string) (err error) {
	ns, err := kind.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind.File))
	if err != nil {
		return errNoProcess(err)
	}
	defer ns.Close()
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("keep %s namespace: %w", kind.Type, err)
	}
	defer file.Close()
	// By descriptors, so that both are what was opened: neither can the
	// process have become another one, nor the file a link.
	if err := unix.Mount(fdPath(ns), fdPath(file), "", unix.MS_BIND, ""); err != nil {
		err = fmt.Errorf("keep %s namespace of process %d at %q: mount: %w", kind.Type, pid, path, err)
		return hint.Add(errors.Join(err, os.Remove(path)), whyNotKept(kind, err))
	}
	return nil
}

// fdPath is a path by which the kernel finds an open file.
func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// whyNotKept is the hint for a failure of Keep's mount.
func whyNotKept(kind Kind, err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace"
	case errors.Is(err, unix.EINVAL) && kind.Flag == unix.CLONE_NEWNS:
		return "a mount namespace can be kept by an older one only, never by itself, and on a private mount: " +
			"mount --bind --make-private DIR DIR"
	}
	return ""
}

// Forget undoes Keep: it unmounts path and removes the file. What is not there
// any more is no error, so that it may be done twice; a file on which no
// namespace is mounted is one, unless it is empty, as Keep makes it before it
// mounts.
func Forget(path string) error {
	var fs unix.Statfs_t
	err := unix.Statfs(path, &fs)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget namespace at %q: %w", path, err)
	}
	if fs.Type == unix.NSFS_MAGIC {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("forget namespace at %q: unmount: %w", path, err)
		}
	}
	info, err := os.Lstat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() != 0) {
		return fmt.Errorf("forget namespace at %q: no namespace is kept there", path)
	}
	if err := errors.Join(err, os.Remove(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget namespace: %w", err)
	}
	return nil
}
