package rootfs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// What a file has beside its name and its contents: inode(7), xattr(7).

// attributes of one file. Time is that of last modification; the time of last
// access is set to the same, those of status change and birth are the kernel's.
type attributes struct {
	mode   uint32 // permission bits as chmod(2) has them; none for a link
	link   bool   // it is a symbolic link
	uid    int
	gid    int
	time   time.Time
	xattrs map[string]string
}

// epoch is the time of what no source has a time for: 1970-01-01, so that it
// does not depend on when it is made.
var epoch = time.Unix(0, 0)

// privileged reports whether owners and security attributes can be set. In a
// user namespace its root can, as far as ids are mapped: user_namespaces(7).
func privileged() bool { return os.Geteuid() == 0 }

// set sets all, in the order in which none undoes or forbids another: a new
// owner clears set-user-ID and file capabilities, and a mode may take away the
// permission that the others need.
func (a attributes) set(dir *os.File, base string) error {
	if privileged() {
		if err := a.setOwner(dir, base); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.xattrs)) {
		if !privileged() && !strings.HasPrefix(name, "user.") {
			continue // as the doc comments say
		}
		if err := inroot.Setxattr(dir, base, name, []byte(a.xattrs[name])); err != nil {
			return xattrHint(err)
		}
	}
	if err := inroot.Chtimes(dir, base, a.time); err != nil || a.link {
		return err
	}
	return inroot.Chmod(dir, base, a.mode)
}

// setOwner refuses numbers that the kernel would cut to 32 bits, which makes
// 2^32 root (CVE-2024-40635), and the one that means "do not change": chown(2).
func (a attributes) setOwner(dir *os.File, base string) error {
	for _, id := range []int{a.uid, a.gid} {
		if id < 0 || id >= math.MaxUint32 {
			return fmt.Errorf("set owner %d:%d of %q: %w", a.uid, a.gid, base, unix.EINVAL)
		}
	}
	err := inroot.Chown(dir, base, a.uid, a.gid)
	switch {
	case errors.Is(err, unix.EINVAL):
		return hint.Add(err, "in a user namespace only ids that it maps exist; map a range of them, or do it outside")
	case errors.Is(err, unix.EPERM):
		return hint.Add(err, "giving files to others needs CAP_CHOWN")
	}
	return err
}

func xattrHint(err error) error {
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return hint.Add(err, "the file system has no such attributes; choose a directory on ext4, xfs or btrfs")
	case errors.Is(err, unix.EPERM):
		return hint.Add(err, "file capabilities need CAP_SETFCAP, trusted.* attributes CAP_SYS_ADMIN")
	}
	return err
}

// directories are those whose attributes are set when all else is done, by
// name, "" for the root: making files in a directory changes its time, and a
// mode like 0555 would not let an ordinary user make any.
type directories map[string]attributes

// openMode lets us, and nobody else, make files in a directory until then.
const openMode = 0o700

// set sets them, what is in a directory before the directory itself: names
// sort the other way around. One that is not there any more was replaced.
func (d directories) set(root *inroot.Root) error {
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(d))) {
		dir, err := root.Lookup(cmp.Or(name, "."), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue
		}
		if err != nil {
			return err
		}
		err = d[name].set(dir, ".")
		if err := errors.Join(err, dir.Close()); err != nil {
			return fmt.Errorf("finish directory %.200q: %w", name, err)
		}
	}
	return nil
}

// addImplied adds the directories that were made because something had to be in
// them.
func (d directories) addImplied(names []string) {
	for _, name := range names {
		d[name] = attributes{mode: 0o755, time: epoch}
	}
}
