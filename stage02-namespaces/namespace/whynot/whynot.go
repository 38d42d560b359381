// Package whynot looks at the machine and says why it does not give a
// namespace. The kernel has two words for a dozen reasons: "operation not
// permitted" (EPERM) and "no space left on device" (ENOSPC). See clone(2),
// namespaces(7), user_namespaces(7).
package whynot

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage02-namespaces/namespace/kind"
)

// Namespaces is the hint for a clone3(2) or unshare(2) with these flags
// (CLONE_NEW*) that failed with errno, or "" when nothing is to be seen.
func Namespaces(flags int, errno unix.Errno) string {
	switch errno {
	case unix.ENOSPC:
		return limits(flags)
	case unix.EINVAL:
		return missing(flags)
	case unix.ENOMEM:
		if flags&unix.CLONE_NEWPID == 0 {
			return "if a pid namespace was joined: its process 1 has ended, and nobody can enter it any more"
		}
	case unix.ENOSYS:
		return "clone3 is refused by a seccomp filter, as Docker's before 20.10.10 does"
	case unix.EPERM:
		return permission(flags)
	}
	return ""
}

// limits finds which kind is used up, or switched off by a limit of 0.
func limits(flags int) string {
	for _, k := range kind.All() {
		limit := "max_" + k.File + "_namespaces"
		if flags&k.Flag != 0 && setting("user/"+limit) == "0" {
			return fmt.Sprintf("%s namespaces are switched off here: user.%s is 0; root can allow them with sysctl user.%s=15000",
				k.Type, limit, limit)
		}
	}
	const nested = "user and pid namespaces can be nested 32 deep, and of each kind there can be as many as /proc/sys/user/max_*_namespaces says"
	return nested
}

// missing finds which kind the kernel was built without.
func missing(flags int) string {
	for _, k := range kind.All() {
		if _, err := os.Stat("/proc/self/ns/" + k.File); flags&k.Flag != 0 && err != nil {
			return fmt.Sprintf("this kernel has no %s namespaces", k.Type)
		}
	}
	return ""
}

// permission finds who forbids it.
func permission(flags int) string {
	if flags&unix.CLONE_NEWUSER == 0 {
		return "new namespaces need CAP_SYS_ADMIN; run it as root, or ask for a user namespace as well"
	}
	if restricted := Restricted(); restricted != "" {
		return restricted
	}
	if chrooted() {
		return "in a chroot nobody gets a user namespace: user_namespaces(7)"
	}
	if status("Seccomp") == "2" {
		return "a seccomp filter is in force, as in most containers, and may refuse user namespaces"
	}
	return "who makes a user namespace must himself have a user and a group id in the present one, and not be in a chroot"
}

// Restricted tells whether the distribution keeps user namespaces from
// ordinary users: Debian and others with a setting of their own, Ubuntu since
// 23.10 with AppArmor, which may let one make the namespace and then give one
// no rights in it.
func Restricted() string {
	switch {
	case os.Geteuid() == 0:
		return ""
	case setting("kernel/unprivileged_userns_clone") == "0":
		return "user namespaces are for root only here; root can allow them with sysctl kernel.unprivileged_userns_clone=1"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor keeps user namespaces from ordinary users here; root can allow them with a profile for this program, " +
			"or for all with sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	}
	return ""
}

// setting is the value of a kernel parameter, or "" when there is no such one.
func setting(name string) string {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// status is a field of /proc/self/status.
func status(field string) string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// chrooted tells whether our root directory is surely not that of the mount
// namespace: it is no mount's root. (One that is a mount point may be either.)
func chrooted() bool {
	var root unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_TYPE, &root)
	return err == nil && root.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && root.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
}
