package plan

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The usual causes of failures, by call and errno: the "ERRORS" of the man pages,
// in the words of someone who wants a container.

// usualCauses says what is usually wrong. A step that knows better has a
// hint of its own.
var usualCauses = [...]struct {
	call  string
	errno syscall.Errno
	hint  string
}{
	{"chroot", unix.EPERM, "chroot needs CAP_SYS_CHROOT; run it as root"},
	{"chroot", unix.ENOENT, "the root directory does not exist"},
	{"clone3", unix.EPERM, "new namespaces need CAP_SYS_ADMIN; run it as root, or ask for a user namespace as well"},
	{"clone3", unix.ENOSPC, "a limit on namespaces is reached; see /proc/sys/user/max_*_namespaces"},
	{"clone3", unix.EAGAIN, "a limit on processes is reached; see RLIMIT_NPROC and pids.max"},
	{"execve", unix.E2BIG, "arguments and environment together are longer than a quarter of RLIMIT_STACK, or one of them than 128 KiB"},
	{"execve", unix.ENOENT, "the program, or the interpreter that its first line or ELF header names, is not in the root file system"},
	{"execve", unix.EACCES, "the program has no execute permission, or is a directory, or its mount is noexec"},
	{"execve", unix.ENOEXEC, "the program is of another architecture, or a script without #!"},
	{"faccessat2", unix.ENOENT, "the container has no such file"},
	{"faccessat2", unix.EACCES, "the program has no execute permission"},
	{"fsopen", unix.ENODEV, "the kernel does not have this file system; is its module loaded?"},
	{"fsmount", unix.EPERM, "mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace"},
	{"mknodat", unix.EPERM, "making devices needs CAP_MKNOD in the initial user namespace"},
	{"mount", unix.EPERM, "mounting needs CAP_SYS_ADMIN; run it as root"},
	{"mount", unix.ENODEV, "the kernel does not have this file system; is its module loaded?"},
	{"move_mount", unix.EINVAL, "the place where the mount would go is not in this mount namespace, or is shared"},
	{"pivot_root", unix.EINVAL, "the new root must be a mount point, and its parent mount must not be shared"},
	{"prlimit64", unix.EPERM, "a hard limit can only be raised with CAP_SYS_RESOURCE"},
	{"read", unix.ECANCELED, "the process that was to give the word to go on has ended"},
	{"setresgid", unix.EINVAL, "the id is not mapped in this user namespace; see /proc/self/gid_map"},
	{"setresuid", unix.EINVAL, "the id is not mapped in this user namespace; see /proc/self/uid_map"},
	{"setgroups", unix.EPERM, "setgroups may be denied in this user namespace; see /proc/self/setgroups"},
	{"setns", unix.EINVAL, "the file is not a namespace of that type, or a user namespace was already entered"},
	{"setns", unix.ESRCH, "the process whose namespaces were to be joined has ended"},
	{"setns", unix.EPERM, "joining a namespace needs CAP_SYS_ADMIN in its user namespace and one's own"},
	{"sethostname", unix.EPERM, "setting the host name needs CAP_SYS_ADMIN in the user namespace that owns the uts namespace"},
	{"unshare", unix.EINVAL, "this kernel lacks one of these kinds of namespaces"},
	{"unshare", unix.ENOSPC, "a limit on namespaces is reached; see /proc/sys/user/max_*_namespaces"},
	{"unshare", unix.EPERM, "new namespaces need CAP_SYS_ADMIN; run it as root, or ask for a user namespace as well"},
}

// usualCause is the hint for a failed call, or "".
func usualCause(call string, errno syscall.Errno) string {
	for i := range usualCauses {
		if u := &usualCauses[i]; u.call == call && u.errno == errno {
			return u.hint
		}
	}
	return ""
}

// UsualCause is the hint for a call that is not a step, such as the clone3(2)
// that starts a plan.
func UsualCause(call string, errno syscall.Errno) string { return usualCause(call, errno) }
