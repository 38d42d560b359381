package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The filter that the kernel asks before each further system call of the
// process, those of the rest of its plan too: seccomp(2).

// Seccomp installs a filter, for ever: seccomp(2), SECCOMP_SET_MODE_FILTER. It
// takes no_new_privs or CAP_SYS_ADMIN. With the flag NEW_LISTENER the result is a
// descriptor for who answers for the calls (seccomp_unotify(2)).
func Seccomp(filter []unix.SockFilter, flags uint64) Step {
	return call("seccomp", unix.SYS_SECCOMP, []Arg{
		symbolArg{"SECCOMP_SET_MODE_FILTER", unix.SECCOMP_SET_MODE_FILTER},
		flagsArg{seccompFlags, flags},
		filterArg(filter),
	}, "install the seccomp filter").
		Hint(unix.EACCES, "a filter takes CAP_SYS_ADMIN in the process's user namespace, or no_new_privs").
		Hint(unix.EINVAL, "the kernel does not know one of the flags: "+seccompFlags.text(flags)).
		Hint(unix.EBUSY, "a filter of this process has a listener already")
}

// filterArg is the address of a struct sock_fprog: a length, and the address of
// as many instructions.
type filterArg []unix.SockFilter

func (f filterArg) word(m memory) uintptr {
	program := struct {
		length uint16
		filter uintptr
	}{uint16(len(f)), keepSlice(m, []unix.SockFilter(f))}
	return keep(m, program)
}

// shownInstructions is how long a filter is printed whole.
const shownInstructions = 16

func (f filterArg) text(Namer) string {
	if len(f) == 0 {
		return "{len=0, filter=NULL}"
	}
	var shown []string
	for i, in := range f {
		if len(f) > shownInstructions && i > 1 {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, instructionText(in))
	}
	return fmt.Sprintf("{len=%d, filter=[%s]}", len(f), strings.Join(shown, ", "))
}

// instructionText writes an instruction with the macros of linux/filter.h.
func instructionText(in unix.SockFilter) string {
	code, k := "", hexText(in.K)
	switch in.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		code = "BPF_LD|BPF_W|BPF_ABS"
	case unix.BPF_ALU | unix.BPF_K | unix.BPF_AND:
		code = "BPF_ALU|BPF_K|BPF_AND"
	case unix.BPF_JMP | unix.BPF_JA:
		code = "BPF_JMP|BPF_K|BPF_JA"
	case unix.BPF_RET | unix.BPF_K:
		code, k = "BPF_RET|BPF_K", verdictText(in.K)
	default:
		name := map[uint16]string{unix.BPF_JEQ: "BPF_JEQ", unix.BPF_JGT: "BPF_JGT", unix.BPF_JGE: "BPF_JGE", unix.BPF_JSET: "BPF_JSET"}[in.Code&0xf0]
		return fmt.Sprintf("BPF_JUMP(BPF_JMP|BPF_K|%s, %s, %s, %s)", name, k, hexText(uint32(in.Jt)), hexText(uint32(in.Jf)))
	}
	return fmt.Sprintf("BPF_STMT(%s, %s)", code, k)
}

// verdictText names what a filter returns: what becomes of the call, and data
// for that, an errno for example.
func verdictText(word uint32) string {
	name := map[uint32]string{
		unix.SECCOMP_RET_KILL_PROCESS: "KILL_PROCESS",
		unix.SECCOMP_RET_KILL_THREAD:  "KILL_THREAD",
		unix.SECCOMP_RET_TRAP:         "TRAP",
		unix.SECCOMP_RET_ERRNO:        "ERRNO",
		unix.SECCOMP_RET_USER_NOTIF:   "USER_NOTIF",
		unix.SECCOMP_RET_TRACE:        "TRACE",
		unix.SECCOMP_RET_LOG:          "LOG",
		unix.SECCOMP_RET_ALLOW:        "ALLOW",
	}[word&unix.SECCOMP_RET_ACTION_FULL]
	text := "SECCOMP_RET_" + name
	if data := word & unix.SECCOMP_RET_DATA; data != 0 {
		text += fmt.Sprintf("|%#x", data)
	}
	return text
}

// seccompFlags are the flags of SECCOMP_SET_MODE_FILTER.
var seccompFlags = flagSet{"0", []flagName{
	{"SECCOMP_FILTER_FLAG_TSYNC", unix.SECCOMP_FILTER_FLAG_TSYNC},
	{"SECCOMP_FILTER_FLAG_LOG", unix.SECCOMP_FILTER_FLAG_LOG},
	{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{"SECCOMP_FILTER_FLAG_NEW_LISTENER", unix.SECCOMP_FILTER_FLAG_NEW_LISTENER},
	{"SECCOMP_FILTER_FLAG_TSYNC_ESRCH", unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH},
	{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}}

// registerSize is how many bytes WriteRegister writes.
const registerSize = 8

// WriteRegister writes what r holds to fd, as 8 bytes in the machine's order:
// write(2). It is how a parent learns the number of a descriptor that a step has
// made.
func WriteRegister(fd FD, r Register) Step {
	return call("write", unix.SYS_WRITE, []Arg{fd, contentsArg(r), intArg(registerSize)}, "tell the parent %s", r.Name)
}

// contentsArg is the address of a register, where others take what it holds.
type contentsArg Register

func (c contentsArg) text(name Namer) string {
	shown := name(c.Name)
	value, err := strconv.ParseInt(shown, 10, 64)
	if err != nil {
		return "&" + shown
	}
	return quote(string(binary.NativeEndian.AppendUint64(nil, uint64(value))))
}

func (c contentsArg) word(m memory) uintptr { return m.register(c.index) }
