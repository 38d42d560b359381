package plan

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Who the process is and what it may do: credentials(7), capabilities(7).

// Setresuid sets the real, effective and saved user id: setresuid(2).
func Setresuid(uid int) Step {
	return call("setresuid", unix.SYS_SETRESUID, []Arg{intArg(uid), intArg(uid), intArg(uid)},
		"become user %d", uid)
}

// Setresgid sets the real, effective and saved group id: setresgid(2).
func Setresgid(gid int) Step {
	return call("setresgid", unix.SYS_SETRESGID, []Arg{intArg(gid), intArg(gid), intArg(gid)},
		"become group %d", gid)
}

// Setgroups sets the supplementary groups; without it the container keeps
// the caller's (CVE-2022-2989): setgroups(2).
func Setgroups(gids ...uint32) Step {
	list := listArg[uint32]{"NULL", gids}
	if len(gids) > 0 {
		list.shown = strings.Join(strings.Fields(fmt.Sprint(gids)), ", ")
	}
	return call("setgroups", unix.SYS_SETGROUPS, []Arg{intArg(len(gids)), list}, "set supplementary groups %v", gids)
}

// Capabilities are sets of bits, 1<<CAP_CHOWN and so on: capabilities(7).
type Capabilities struct{ Effective, Permitted, Inheritable uint64 }

// Capset sets three of the five capability sets: capset(2).
func Capset(c Capabilities) Step {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(c.Effective), Permitted: uint32(c.Permitted), Inheritable: uint32(c.Inheritable)},
		{Effective: uint32(c.Effective >> 32), Permitted: uint32(c.Permitted >> 32), Inheritable: uint32(c.Inheritable >> 32)},
	}
	show := func() string {
		return fmt.Sprintf("{effective=%s, permitted=%s, inheritable=%s}",
			capabilityText(c.Effective), capabilityText(c.Permitted), capabilityText(c.Inheritable))
	}
	return call("capset", unix.SYS_CAPSET, []Arg{
		structArg[unix.CapUserHeader]{fixed("{version=_LINUX_CAPABILITY_VERSION_3, pid=0}"), header},
		structArg[[2]unix.CapUserData]{show, data},
	}, "set capabilities")
}

// DropBounding takes one capability from the bounding set, for ever:
// prctl(PR_CAPBSET_DROP).
func DropBounding(capability int) Step {
	name := symbolArg{CapabilityName(capability), uintptr(capability)}
	return prctl("PR_CAPBSET_DROP", unix.PR_CAPBSET_DROP, name).
		Doing("drop %s from the bounding set", name.name)
}

// ClearAmbient empties the ambient set: prctl(PR_CAP_AMBIENT).
func ClearAmbient() Step {
	return prctl("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT,
		symbolArg{"PR_CAP_AMBIENT_CLEAR_ALL", unix.PR_CAP_AMBIENT_CLEAR_ALL}, intArg(0), intArg(0), intArg(0)).
		Doing("clear ambient capabilities")
}

// RaiseAmbient adds one capability, which must be permitted and inheritable,
// to the ambient set: prctl(PR_CAP_AMBIENT).
func RaiseAmbient(capability int) Step {
	name := symbolArg{CapabilityName(capability), uintptr(capability)}
	return prctl("PR_CAP_AMBIENT", unix.PR_CAP_AMBIENT,
		symbolArg{"PR_CAP_AMBIENT_RAISE", unix.PR_CAP_AMBIENT_RAISE}, name, intArg(0), intArg(0)).
		Doing("raise ambient %s", name.name)
}

// KeepCapabilities lets the permitted capabilities survive the change from
// user 0 to another: prctl(PR_SET_KEEPCAPS).
func KeepCapabilities() Step {
	return prctl("PR_SET_KEEPCAPS", unix.PR_SET_KEEPCAPS, intArg(1)).Doing("keep capabilities across setresuid")
}

// NoNewPrivileges promises that execve(2) will never again give privileges
// that the process does not have (set-user-ID, file capabilities):
// prctl(PR_SET_NO_NEW_PRIVS).
func NoNewPrivileges() Step {
	return prctl("PR_SET_NO_NEW_PRIVS", unix.PR_SET_NO_NEW_PRIVS, intArg(1), intArg(0), intArg(0), intArg(0)).
		Doing("set no_new_privs")
}

// NotDumpable keeps others that share a pid namespace from ptrace(2) and from
// /proc/PID/fd of this process until execve(2) (CVE-2016-9962):
// prctl(PR_SET_DUMPABLE).
func NotDumpable() Step {
	return prctl("PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE,
		symbolArg{"SUID_DUMP_DISABLE", 0}).Doing("become undumpable")
}

// ParentDeathSignal asks for a signal when the thread that cloned this
// process ends: prctl(PR_SET_PDEATHSIG).
func ParentDeathSignal(signal unix.Signal) Step {
	return prctl("PR_SET_PDEATHSIG", unix.PR_SET_PDEATHSIG,
		symbolArg{unix.SignalName(signal), uintptr(signal)}).
		Doing("ask for %s at the parent's death", unix.SignalName(signal))
}

// prctl is prctl(2) with the operation's name.
func prctl(name string, option int, args ...Arg) Step {
	return call("prctl", unix.SYS_PRCTL, append([]Arg{symbolArg{name, uintptr(option)}}, args...), "%s", name)
}

// capabilityNames are the capabilities by number: capabilities(7).
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
	"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
	"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// CapabilityNames are the names of all capabilities, by number.
func CapabilityNames() []string { return slices.Clone(capabilityNames[:]) }

// CapabilityName is the name of a capability: CAP_CHOWN for 0.
func CapabilityName(capability int) string { return nameIn(capabilityNames[:], capability) }

// CapabilityNumber is the number of the capability with this name.
func CapabilityNumber(name string) (capability int, ok bool) {
	return numberIn(capabilityNames[:], name)
}

// capabilityText names a set as strace does: 1<<CAP_CHOWN|1<<CAP_KILL.
func capabilityText(set uint64) string {
	if set == 0 {
		return "0"
	}
	var names []string
	for i := range capabilityNames {
		if set&(1<<i) != 0 {
			names = append(names, "1<<"+capabilityNames[i])
		}
	}
	return strings.Join(names, "|")
}
