package seccomp

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// The program for people to read, and for goldens: an instruction a line, with
// where its jumps go and the kernel's words for what it returns.

// String lists the program.
func (f *Filter) String() string {
	var b strings.Builder
	for i, in := range f.Program {
		fmt.Fprintf(&b, "%4d  %s\n", i, instruction(i, in))
	}
	return b.String()
}

// instruction writes the instruction at place i.
func instruction(i int, in unix.SockFilter) string {
	to := func(skip uint32) int { return i + 1 + int(skip) }
	switch in.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		return "load " + field(in.K)
	case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
		return "and " + number(in.K)
	case unix.BPF_RET | unix.BPF_K:
		return "return " + actionText(in.K)
	case unix.BPF_JMP | unix.BPF_JA:
		return fmt.Sprintf("goto %d", to(in.K))
	}
	sign := map[uint16]string{unix.BPF_JEQ: "==", unix.BPF_JGE: ">=", unix.BPF_JGT: ">"}[in.Code&0xf0]
	return fmt.Sprintf("if %s %s goto %d else %d", sign, number(in.K), to(uint32(in.Jt)), to(uint32(in.Jf)))
}

// number writes what looks like the number of a call as tables of calls do, and
// what looks like bits as headers do.
func number(k uint32) string {
	if k < 1<<12 {
		return fmt.Sprint(k)
	}
	return fmt.Sprintf("%#x", k)
}

// field names a field of struct seccomp_data.
func field(offset uint32) string {
	switch offset {
	case numberOffset:
		return "nr"
	case archOffset:
		return "arch"
	}
	half := "low"
	if offset%8 == 4 {
		half = "high"
	}
	return fmt.Sprintf("args[%d].%s", (offset-argsOffset)/8, half)
}

// actionText names what a filter returns, as seccomp(2) does.
func actionText(word uint32) string {
	data := int(word & unix.SECCOMP_RET_DATA)
	switch word & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_KILL_PROCESS:
		return "KILL_PROCESS"
	case unix.SECCOMP_RET_KILL_THREAD:
		return "KILL_THREAD"
	case unix.SECCOMP_RET_TRAP:
		return "TRAP"
	case unix.SECCOMP_RET_ERRNO:
		if name := unix.ErrnoName(unix.Errno(data)); name != "" {
			return "ERRNO " + name
		}
		return fmt.Sprintf("ERRNO %d", data)
	case unix.SECCOMP_RET_TRACE:
		return fmt.Sprintf("TRACE %d", data)
	case unix.SECCOMP_RET_USER_NOTIF:
		return "USER_NOTIF"
	case unix.SECCOMP_RET_LOG:
		return "LOG"
	}
	return "ALLOW"
}
