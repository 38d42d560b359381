package plan

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The names of flags, as the man pages have them, in the order in which strace(1)
// prints them. Each table says which calls it is for.

// A flagSet names the bits of one kind of flags, in the order in which
// strace prints them, so that a plan and a trace can be compared as text.
type flagSet struct {
	zero  string // what to print for no flags at all
	names []flagName
}

type flagName struct {
	name string
	bits uint64
}

// text joins the names of the bits in v; bits without a name are printed in
// hexadecimal at the end.
func (s flagSet) text(v uint64) string {
	var parts []string
	if s.zero != "0" || v == 0 {
		parts = append(parts, s.zero)
	}
	for _, f := range s.names {
		if v&f.bits == f.bits {
			parts = append(parts, f.name)
			v &^= f.bits
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// errnoName is the name of an errno: ENOENT.
func errnoName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(e))
}

// The flags of mount(2).
var mountFlags = flagSet{"0", []flagName{
	{"MS_RDONLY", unix.MS_RDONLY},
	{"MS_NOSUID", unix.MS_NOSUID},
	{"MS_NODEV", unix.MS_NODEV},
	{"MS_NOEXEC", unix.MS_NOEXEC},
	{"MS_SYNCHRONOUS", unix.MS_SYNCHRONOUS},
	{"MS_REMOUNT", unix.MS_REMOUNT},
	{"MS_MANDLOCK", unix.MS_MANDLOCK},
	{"MS_DIRSYNC", unix.MS_DIRSYNC},
	{"MS_NOSYMFOLLOW", unix.MS_NOSYMFOLLOW},
	{"MS_NOATIME", unix.MS_NOATIME},
	{"MS_NODIRATIME", unix.MS_NODIRATIME},
	{"MS_BIND", unix.MS_BIND},
	{"MS_MOVE", unix.MS_MOVE},
	{"MS_REC", unix.MS_REC},
	{"MS_UNBINDABLE", unix.MS_UNBINDABLE},
	{"MS_PRIVATE", unix.MS_PRIVATE},
	{"MS_SLAVE", unix.MS_SLAVE},
	{"MS_SHARED", unix.MS_SHARED},
	{"MS_RELATIME", unix.MS_RELATIME},
	{"MS_STRICTATIME", unix.MS_STRICTATIME},
	{"MS_I_VERSION", unix.MS_I_VERSION},
	{"MS_LAZYTIME", unix.MS_LAZYTIME},
}}

// The flags of umount2(2).
var umountFlags = flagSet{"0", []flagName{
	{"MNT_DETACH", unix.MNT_DETACH},
	{"UMOUNT_NOFOLLOW", unix.UMOUNT_NOFOLLOW},
}}

// The attributes of fsmount(2) and mount_setattr(2).
var mountAttributes = flagSet{"0", []flagName{
	{"MOUNT_ATTR_RDONLY", unix.MOUNT_ATTR_RDONLY},
	{"MOUNT_ATTR_NOSUID", unix.MOUNT_ATTR_NOSUID},
	{"MOUNT_ATTR_NODEV", unix.MOUNT_ATTR_NODEV},
	{"MOUNT_ATTR_NOEXEC", unix.MOUNT_ATTR_NOEXEC},
	{"MOUNT_ATTR_NOATIME", unix.MOUNT_ATTR_NOATIME},
	{"MOUNT_ATTR_STRICTATIME", unix.MOUNT_ATTR_STRICTATIME},
	{"MOUNT_ATTR_NODIRATIME", unix.MOUNT_ATTR_NODIRATIME},
	{"MOUNT_ATTR_IDMAP", unix.MOUNT_ATTR_IDMAP},
	{"MOUNT_ATTR_NOSYMFOLLOW", unix.MOUNT_ATTR_NOSYMFOLLOW},
}}

// The flags of faccessat2(2), fchownat(2), mount_setattr(2), and of open_tree(2),
// which has two more.
var atFlags = flagSet{"0", []flagName{
	{"OPEN_TREE_CLONE", unix.OPEN_TREE_CLONE},
	{"OPEN_TREE_CLOEXEC", unix.OPEN_TREE_CLOEXEC},
	{"AT_SYMLINK_NOFOLLOW", unix.AT_SYMLINK_NOFOLLOW},
	{"AT_EACCESS", unix.AT_EACCESS},
	{"AT_EMPTY_PATH", unix.AT_EMPTY_PATH},
	{"AT_RECURSIVE", unix.AT_RECURSIVE},
}}

// The namespaces of clone(2), unshare(2) and setns(2).
var cloneFlags = flagSet{"0", []flagName{
	{"CLONE_NEWTIME", unix.CLONE_NEWTIME},
	{"CLONE_PIDFD", unix.CLONE_PIDFD},
	{"CLONE_PARENT", unix.CLONE_PARENT},
	{"CLONE_NEWNS", unix.CLONE_NEWNS},
	{"CLONE_SETTLS", unix.CLONE_SETTLS},
	{"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
	{"CLONE_NEWUTS", unix.CLONE_NEWUTS},
	{"CLONE_NEWIPC", unix.CLONE_NEWIPC},
	{"CLONE_NEWUSER", unix.CLONE_NEWUSER},
	{"CLONE_NEWPID", unix.CLONE_NEWPID},
	{"CLONE_NEWNET", unix.CLONE_NEWNET},
	{"CLONE_CLEAR_SIGHAND", unix.CLONE_CLEAR_SIGHAND},
	{"CLONE_INTO_CGROUP", unix.CLONE_INTO_CGROUP},
}}

// CloneFlags names the flags of clone3(2), as strace does.
func CloneFlags(flags uint64) string { return cloneFlags.text(flags) }

// The flags of open(2). O_RDONLY is 0, and strace prints it all the same.
var openFlags = flagSet{"O_RDONLY", []flagName{
	{"O_CREAT", unix.O_CREAT},
	{"O_EXCL", unix.O_EXCL},
	{"O_NOCTTY", unix.O_NOCTTY},
	{"O_TRUNC", unix.O_TRUNC},
	{"O_APPEND", unix.O_APPEND},
	{"O_NONBLOCK", unix.O_NONBLOCK},
	{"O_NOFOLLOW", unix.O_NOFOLLOW},
	{"O_CLOEXEC", unix.O_CLOEXEC},
	{"O_PATH", unix.O_PATH},
	{"O_DIRECTORY", unix.O_DIRECTORY},
}}

// openText names the flags of open(2); the access mode is a number of two
// bits, not a flag of its own.
func openText(v uint64) string {
	set := openFlags
	set.zero = [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[v&unix.O_ACCMODE]
	return set.text(v &^ unix.O_ACCMODE)
}

// The resolve flags of openat2(2).
var resolveFlags = flagSet{"0", []flagName{
	{"RESOLVE_NO_XDEV", unix.RESOLVE_NO_XDEV},
	{"RESOLVE_NO_MAGICLINKS", unix.RESOLVE_NO_MAGICLINKS},
	{"RESOLVE_NO_SYMLINKS", unix.RESOLVE_NO_SYMLINKS},
	{"RESOLVE_BENEATH", unix.RESOLVE_BENEATH},
	{"RESOLVE_IN_ROOT", unix.RESOLVE_IN_ROOT},
}}
