package seccomp_test

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The kernel's side: what makes a program valid for it, and what it does with one.
// kernel/seccomp.c, seccomp_check_filter; net/core/filter.c, bpf_check_classic.

// check makes sure that the kernel would take the program.
func check(program []unix.SockFilter) error {
	if len(program) == 0 || len(program) > 4096 {
		return fmt.Errorf("%d instructions", len(program))
	}
	for i, in := range program {
		left := len(program) - i - 1
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if in.K%4 != 0 || in.K > 60 {
				return fmt.Errorf("instruction %d loads from %d", i, in.K)
			}
		case unix.BPF_JMP | unix.BPF_JA:
			if int(in.K) >= left {
				return fmt.Errorf("instruction %d jumps out", i)
			}
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			if int(max(in.Jt, in.Jf)) >= left {
				return fmt.Errorf("instruction %d jumps out", i)
			}
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, unix.BPF_RET | unix.BPF_K:
		default:
			return fmt.Errorf("instruction %d has code %#x", i, in.Code)
		}
	}
	if last := program[len(program)-1]; last.Code != unix.BPF_RET|unix.BPF_K {
		return fmt.Errorf("the last instruction is no return")
	}
	return nil
}

// run runs a program, of this package's compiler or of another, on a call. It
// returns what the program does, the number of instructions that took, and
// whether it looked at more than architecture and number.
func run(program []unix.SockFilter, c call) (verdict uint32, steps int, looked bool) {
	var a uint32
	for pc := 0; ; pc++ {
		in := program[pc]
		steps++
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = c.load(in.K)
			looked = looked || in.K > 4
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
		case unix.BPF_RET | unix.BPF_K:
			return in.K, steps, looked
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			pc += skip(a == in.K, in)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			pc += skip(a >= in.K, in)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			pc += skip(a > in.K, in)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			pc += skip(a&in.K != 0, in)
		default:
			panic(fmt.Sprintf("instruction %d has code %#x", pc, in.Code))
		}
	}
}

// skip is how far a conditional jump goes.
func skip(yes bool, in unix.SockFilter) int {
	if yes {
		return int(in.Jt)
	}
	return int(in.Jf)
}

// load reads a word of the call as a little-endian machine lays it out.
func (c call) load(offset uint32) uint32 {
	switch {
	case offset == 0:
		return c.number
	case offset == 4:
		return c.audit
	case offset < 16:
		return 0 // the instruction pointer
	}
	return uint32(c.args[(offset-16)/8] >> (offset % 8 * 8))
}
