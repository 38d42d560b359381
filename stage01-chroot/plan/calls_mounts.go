package plan

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Mounts: mount(2) and its relatives, and the newer calls that do the same in
// small pieces with descriptors in between: fsopen(2), fsconfig(2),
// fsmount(2), open_tree(2), move_mount(2), mount_setattr(2), Linux 5.2–5.12.

// Mount is mount(2). An empty source, fstype or data is NULL.
func Mount(source, target, fstype string, flags uintptr, data string) Step {
	return call("mount", unix.SYS_MOUNT, []Arg{
		stringOrNull(source), stringArg(target), stringOrNull(fstype),
		flagsArg{mountFlags, uint64(flags)},
		stringOrNull(data),
	}, "%s", mountWords(source, target, fstype, flags))
}

// mountWords says what a mount(2) does: mount, bind, change flags or
// propagation, see "DESCRIPTION" in mount(2).
func mountWords(source, target, fstype string, flags uintptr) string {
	switch {
	case flags&unix.MS_REMOUNT != 0:
		return fmt.Sprintf("remount %q", target)
	case flags&unix.MS_BIND != 0:
		return fmt.Sprintf("bind mount %q on %q", source, target)
	case flags&unix.MS_PRIVATE != 0:
		return fmt.Sprintf("make mounts below %q private", target)
	case flags&unix.MS_SLAVE != 0:
		return fmt.Sprintf("make mounts below %q slaves", target)
	case flags&unix.MS_SHARED != 0:
		return fmt.Sprintf("make mounts below %q shared", target)
	case flags&unix.MS_UNBINDABLE != 0:
		return fmt.Sprintf("make mounts below %q unbindable", target)
	}
	return fmt.Sprintf("mount %q on %q", fstype, target)
}

// Umount2 takes a mount away: umount2(2).
func Umount2(target string, flags int) Step {
	return call("umount2", unix.SYS_UMOUNT2, []Arg{stringArg(target), flagsArg{umountFlags, uint64(flags)}},
		"unmount %q", target)
}

// PivotRoot makes newRoot the root mount and puts the old one on putOld:
// pivot_root(2).
func PivotRoot(newRoot, putOld string) Step {
	return call("pivot_root", unix.SYS_PIVOT_ROOT, []Arg{stringArg(newRoot), stringArg(putOld)},
		"pivot root to %q", newRoot)
}

// Fsopen starts to configure a file system: fsopen(2). Its result is the
// context for Fsconfig and Fsmount, and for Step.Log.
func Fsopen(fstype string) Step {
	return call("fsopen", unix.SYS_FSOPEN, []Arg{
		stringArg(fstype), symbolArg{"FSOPEN_CLOEXEC", unix.FSOPEN_CLOEXEC},
	}, "open file system %q", fstype)
}

// FsconfigString sets a parameter of the form key=value.
func FsconfigString(context Register, key, value string) Step {
	return call("fsconfig", unix.SYS_FSCONFIG, []Arg{
		context,
		symbolArg{"FSCONFIG_SET_STRING", unix.FSCONFIG_SET_STRING},
		stringArg(key), stringArg(value), intArg(0),
	}, "set file system option %s=%q", key, value).Log(context)
}

// FsconfigFlag sets a parameter that has no value.
func FsconfigFlag(context Register, key string) Step {
	return call("fsconfig", unix.SYS_FSCONFIG, []Arg{
		context, symbolArg{"FSCONFIG_SET_FLAG", unix.FSCONFIG_SET_FLAG}, stringArg(key), null, intArg(0),
	}, "set file system option %s", key).Log(context)
}

// FsconfigCreate makes the file system from what was configured.
func FsconfigCreate(context Register) Step {
	return call("fsconfig", unix.SYS_FSCONFIG, []Arg{
		context, symbolArg{"FSCONFIG_CMD_CREATE", unix.FSCONFIG_CMD_CREATE}, null, null, intArg(0),
	}, "create file system").Log(context)
}

// Fsmount makes a mount of the file system, attached nowhere yet:
// fsmount(2). attributes are MOUNT_ATTR_*.
func Fsmount(context Register, attributes uint64) Step {
	return call("fsmount", unix.SYS_FSMOUNT, []Arg{
		context, symbolArg{"FSMOUNT_CLOEXEC", unix.FSMOUNT_CLOEXEC}, flagsArg{mountAttributes, attributes},
	}, "make mount").Log(context)
}

// OpenTree opens the mount at path, or with OPEN_TREE_CLONE a copy of it that
// is attached nowhere yet (a bind mount in the making): open_tree(2).
func OpenTree(dir FD, path string, flags uint) Step {
	return call("open_tree", unix.SYS_OPEN_TREE, []Arg{
		dir, stringArg(path), flagsArg{atFlags, uint64(flags)},
	}, "open mount %q", path)
}

// MoveMount attaches the mount that from refers to at the place that to
// refers to. No path is looked up, so none can be swapped: move_mount(2).
func MoveMount(from, to FD) Step {
	return call("move_mount", unix.SYS_MOVE_MOUNT, []Arg{
		from, stringArg(""), to, stringArg(""),
		symbolArg{"MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH", unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH},
	}, "attach mount")
}

// Fspick opens the file system of the mount at path for changing its
// configuration: fspick(2). Its result is a context, as that of Fsopen; what
// was changed takes effect with FsconfigReconfigure.
func Fspick(dir FD, path string) Step {
	return call("fspick", unix.SYS_FSPICK, []Arg{
		dir, stringArg(path), symbolArg{"FSPICK_CLOEXEC|FSPICK_EMPTY_PATH", unix.FSPICK_CLOEXEC | unix.FSPICK_EMPTY_PATH},
	}, "open the file system of %q", path)
}

// FsconfigReconfigure changes the file system to what was configured since
// Fspick.
func FsconfigReconfigure(context Register) Step {
	return call("fsconfig", unix.SYS_FSCONFIG, []Arg{
		context, symbolArg{"FSCONFIG_CMD_RECONFIGURE", unix.FSCONFIG_CMD_RECONFIGURE}, null, null, intArg(0),
	}, "change file system").Log(context)
}

// MountSetattr changes the attributes or the propagation of the mount that fd
// is open on, and with AT_RECURSIVE in flags of all below it:
// mount_setattr(2). Other than a remount it leaves the rest as it is.
func MountSetattr(fd FD, flags uint, attr unix.MountAttr) Step {
	return mountSetattr(fd, flags, attr, nil)
}

// MountSetattrIDMap shows the owners of files in a mount as the maps of the
// user namespace that user is open on have them: "ID-mapped mounts" in
// mount_setattr(2). The mount must not be attached anywhere yet.
func MountSetattrIDMap(fd FD, flags uint, user Descriptor) Step {
	return mountSetattr(fd, flags, unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Number),
	}, &user)
}

// mountSetattr makes the step; user is the descriptor in attr, if it has a
// name to print.
func mountSetattr(fd FD, flags uint, attr unix.MountAttr, user *Descriptor) Step {
	return call("mount_setattr", unix.SYS_MOUNT_SETATTR, []Arg{
		fd, stringArg(""),
		flagsArg{atFlags, uint64(flags | unix.AT_EMPTY_PATH)},
		mountAttrArg{attr, user},
		intArg(unix.MOUNT_ATTR_SIZE_VER0),
	}, "change mount attributes")
}

// mountAttrArg is the address of a struct mount_attr.
type mountAttrArg struct {
	attr unix.MountAttr
	user *Descriptor
}

func (m mountAttrArg) text(name Namer) string {
	user := fmt.Sprint(m.attr.Userns_fd)
	if m.user != nil {
		user = m.user.text(name)
	}
	return fmt.Sprintf("{attr_set=%s, attr_clr=%s, propagation=%s, userns_fd=%s}",
		mountAttributes.text(m.attr.Attr_set), clearText(m.attr.Attr_clr), mountFlags.text(m.attr.Propagation), user)
}

func (m mountAttrArg) word(memory memory) uintptr { return keep(memory, m.attr) }

// clearText names the attributes to clear. The three kinds of atime are one
// field of three bits, which is cleared as a whole.
func clearText(v uint64) string {
	if v&unix.MOUNT_ATTR__ATIME != unix.MOUNT_ATTR__ATIME {
		return mountAttributes.text(v)
	}
	rest := mountAttributes.text(v &^ unix.MOUNT_ATTR__ATIME)
	if rest == "0" {
		return "MOUNT_ATTR__ATIME"
	}
	return rest + "|MOUNT_ATTR__ATIME"
}
