package seccomp_test

import (
	"runtime"
	"slices"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security/seccomp"
)

// What a profile means, said without BPF: the compiler is compared with it, and it
// with the filters of runc. It looks up one call in the profile, as slowly and
// plainly as a person would.

// A call is a struct seccomp_data.
type call struct {
	number uint32
	audit  uint32
	args   [6]uint64
}

// verdict is what the profile says about a call.
func verdict(s *specs.LinuxSeccomp, c call) uint32 {
	others := word(s.DefaultAction, s.DefaultErrnoRet)
	newer := uint32(unix.SECCOMP_RET_ERRNO | unix.ENOSYS)
	if s.DefaultAction == specs.ActAllow || s.DefaultAction == specs.ActLog || s.DefaultAction == specs.ActTrace {
		newer = others
	}
	const nobody = 0xffffffff
	x86 := c.audit == unix.AUDIT_ARCH_X86_64
	if x86 && c.number == nobody {
		return newer
	}
	for _, a := range arches() {
		isX32 := a.Name == specs.ArchX32
		listed := slices.Contains(s.Architectures, a.Name) || a.Name == native()
		if !listed || a.Audit != c.audit || x86 && isX32 != (c.number >= 1<<30) {
			continue
		}
		name, known := "", -1
		for n, number := range a.Calls {
			if number == c.number {
				name = n
			}
			if number&0xfffffff < 0xf0000 && names(s, n) {
				known = max(known, int(number))
			}
		}
		if v, said := rules(s, a, name, c.args, others); said || name != "" && names(s, name) {
			return v
		}
		if known >= 0 && int(c.number) > known {
			return newer
		}
		return others
	}
	return unix.SECCOMP_RET_KILL_THREAD
}

// arches are all that have tables.
var arches = sync.OnceValue(seccomp.Arches)

// native is the architecture of this machine.
func native() specs.Arch {
	return map[string]specs.Arch{"amd64": specs.ArchX86_64, "arm64": specs.ArchAARCH64}[runtime.GOARCH]
}

// nativeArch is the same, with its calls.
func nativeArch() seccomp.Arch {
	return arches()[slices.IndexFunc(arches(), func(a seccomp.Arch) bool { return a.Name == native() })]
}

// names tells whether the profile has an entry for a call.
func names(s *specs.LinuxSeccomp, name string) bool {
	return slices.ContainsFunc(s.Syscalls, func(e specs.LinuxSyscall) bool { return slices.Contains(e.Names, name) })
}

// rules asks the entries of the profile; said is false if none has anything to
// say about the call.
func rules(s *specs.LinuxSeccomp, a seccomp.Arch, name string, args [6]uint64, others uint32) (v uint32, said bool) {
	var entries []specs.LinuxSyscall
	for _, e := range s.Syscalls {
		if name != "" && slices.Contains(e.Names, name) && word(e.Action, e.ErrnoRet) != others {
			entries = append(entries, e)
		}
	}
	for _, e := range entries {
		if len(e.Args) == 0 {
			return word(e.Action, e.ErrnoRet), true
		}
	}
	for _, e := range entries {
		if holds(e.Args, a.Wide, args) {
			return word(e.Action, e.ErrnoRet), true
		}
	}
	members := map[string][]string{"socketcall": socketcalls, "ipc": ipcs}[name]
	said = len(entries) > 0 || anyNamed(s, members, others)
	number := int64(args[0])
	if !a.Wide {
		number = int64(uint32(args[0]))
	}
	if number >= 0 && number < int64(len(members)) && members[number] != "" {
		return member(s, members[number], others), said
	}
	return others, said
}

// anyNamed tells whether the profile has a rule for one of these calls.
func anyNamed(s *specs.LinuxSeccomp, members []string, others uint32) bool {
	for _, m := range members {
		if m != "" && member(s, m, others) != others {
			return true
		}
	}
	return false
}

// member is what a profile says about a call that socketcall or ipc stands for,
// whose arguments nobody sees.
func member(s *specs.LinuxSeccomp, name string, others uint32) uint32 {
	strict := uint32(0)
	found := false
	for _, e := range s.Syscalls {
		v := word(e.Action, e.ErrnoRet)
		if !slices.Contains(e.Names, name) || v == others {
			continue
		}
		if len(e.Args) == 0 {
			return v
		}
		if !found && int32(v&0xffff0000) < int32(others&0xffff0000) {
			strict, found = v, true
		}
	}
	if found {
		return strict
	}
	return others
}

// holds tells whether one condition on each argument is met.
func holds(conditions []specs.LinuxSeccompArg, wide bool, args [6]uint64) bool {
	for index := range uint(6) {
		about, met := false, false
		for _, c := range conditions {
			if c.Index == index {
				about = true
				met = met || meets(c, wide, args[index])
			}
		}
		if about && !met {
			return false
		}
	}
	return true
}

// meets tells whether an argument meets a condition.
func meets(c specs.LinuxSeccompArg, wide bool, arg uint64) bool {
	value, two := c.Value, c.ValueTwo
	if !wide {
		arg, value, two = arg&0xffffffff, value&0xffffffff, two&0xffffffff
	}
	switch c.Op {
	case specs.OpEqualTo:
		return arg == value
	case specs.OpNotEqual:
		return arg != value
	case specs.OpLessThan:
		return arg < value
	case specs.OpLessEqual:
		return arg <= value
	case specs.OpGreaterThan:
		return arg > value
	case specs.OpGreaterEqual:
		return arg >= value
	}
	return arg&value == two&value
}

// word is what a filter returns for an action.
func word(action specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno)
	}
	return map[specs.LinuxSeccompAction]uint32{
		specs.ActKill: 0, specs.ActKillThread: 0, specs.ActKillProcess: 0x80000000, specs.ActTrap: 0x30000, specs.ActErrno: 0x50000 | data,
		specs.ActNotify: 0x7fc00000, specs.ActTrace: 0x7ff00000 | data, specs.ActLog: 0x7ffc0000, specs.ActAllow: 0x7fff0000,
	}[action]
}

// The calls behind socketcall(2) and ipc(2), by number: linux/net.h, linux/ipc.h.
var (
	socketcalls = []string{
		1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername", 8: "socketpair", 9: "send",
		10: "recv", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt", 15: "getsockopt", 16: "sendmsg", 17: "recvmsg",
		18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
	}
	ipcs = []string{
		1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
		21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
	}
)
