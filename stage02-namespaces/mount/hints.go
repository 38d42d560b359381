package mount

import (
	"cmp"
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Why the kernel refuses a mount: its one word stands for many reasons, of which
// mount(2), fsconfig(2) and mount_setattr(2) name some.

// unlikeKinds is the usual cause of a mount that does not fit its place.
const unlikeKinds = "a directory can only be mounted on a directory, and a file on a file"

// notIDMappable is the usual cause of EINVAL: mount_setattr(2), "ID-mapped
// mounts".
const notIDMappable = "this file system cannot be id-mapped, not by this kernel, or is id-mapped already: " +
	"ext4 and xfs can since Linux 5.12, btrfs since 5.15, tmpfs since 6.3, proc and overlay cannot; see mount_setattr(2)"

// badOption is why a file system may refuse the option key.
func (r *Root) badOption(fstype, key string) string {
	if r.user != nil && (key == "uid" || key == "gid") {
		return fmt.Sprintf("%s= takes an id that is mapped in the container's user namespace (gid=5 of devpts often is not)", key)
	}
	return fmt.Sprintf("%s has no such option, or not with this value", fstype)
}

// causes adds the usual causes to a step that makes a file system.
func (r *Root) causes(s plan.Step, m specs.Mount) plan.Step {
	s = s.Hint(unix.ENODEV, fmt.Sprintf("the kernel does not know file system type %q: is its module there? /proc/filesystems lists what is", m.Type)).
		Hint(unix.EBUSY, fmt.Sprintf("%q is mounted already, in another way", cmp.Or(m.Source, m.Type)))
	if strings.HasPrefix(m.Source, "/") {
		s = s.Hint(unix.ENOENT, fmt.Sprintf("the source %q does not exist on the host", m.Source)).
			Hint(unix.ENOTBLK, fmt.Sprintf("%q is not a block device: for a folder or a file use the option bind", m.Source))
	}
	if r.user == nil {
		return s
	}
	return s.Hint(unix.EPERM, map[string]string{
		"proc": "the kernel allows a new proc only to a process that sees all of an old one: " +
			"nothing may be mounted below /proc out here, or bind mount /proc (rbind)",
		"sysfs": "sysfs shows a network: without a network namespace of its own, " +
			"a user namespace cannot mount it; bind mount /sys instead (rbind)",
	}[m.Type])
}
