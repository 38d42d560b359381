// Instructions: a BPF program is a row of these, eight bytes each, for a
// machine with eleven registers (kernel documentation, bpf/standardization/
// instruction-set). Only the kinds that a filter of comparisons needs have a
// function here. A whole assembler (github.com/cilium/ebpf/asm) was measured in
// their place: it makes skiff-oci 0.8 MB larger and its start 0.3 ms slower, each
// time, also where no filter is loaded. This file costs 30 kB and nothing.

package bpf

import "golang.org/x/sys/unix"

// Instruction is struct bpf_insn of linux/bpf.h.
type Instruction struct {
	Code      uint8
	Registers uint8 // the destination in the low half, the source in the high one
	Offset    int16
	Immediate int32
}

// Register is R0 to R10. A program finds its argument, a pointer to what it
// shall judge, in R1, and leaves its verdict in R0.
type Register uint8

// The registers that a program may use freely, without saving any.
const (
	R0 Register = iota
	R1
	R2
	R3
	R4
	R5
)

// The operations work on the lower 32 bits of a register and clear the upper
// ones. skip counts instructions, from the one behind the jump.

// Load sets to to the 32-bit word at the address in from, plus offset bytes.
func Load(to, from Register, offset int16) Instruction {
	return Instruction{unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, uint8(from)<<4 | uint8(to), offset, 0}
}

// Set sets to to the value.
func Set(to Register, value int32) Instruction {
	return Instruction{unix.BPF_ALU | unix.BPF_MOV | unix.BPF_K, uint8(to), 0, value}
}

// Copy sets to to what is in from.
func Copy(to, from Register) Instruction {
	return Instruction{unix.BPF_ALU | unix.BPF_MOV | unix.BPF_X, uint8(from)<<4 | uint8(to), 0, 0}
}

// And keeps the bits of to that are in the mask.
func And(to Register, mask int32) Instruction {
	return Instruction{unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, uint8(to), 0, mask}
}

// ShiftRight drops the lowest n bits of to.
func ShiftRight(to Register, n int32) Instruction {
	return Instruction{unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, uint8(to), 0, n}
}

// JumpUnless jumps if the register does not hold the value.
func JumpUnless(r Register, value int32, skip int16) Instruction {
	return Instruction{unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K, uint8(r), skip, value}
}

// JumpIfAny jumps if the register has one of the bits of the mask, or several.
func JumpIfAny(r Register, mask int32, skip int16) Instruction {
	return Instruction{unix.BPF_JMP32 | unix.BPF_JSET | unix.BPF_K, uint8(r), skip, mask}
}

// Jump jumps.
func Jump(skip int16) Instruction {
	return Instruction{unix.BPF_JMP | unix.BPF_JA, 0, skip, 0}
}

// Exit ends the program.
func Exit() Instruction {
	return Instruction{unix.BPF_JMP | unix.BPF_EXIT, 0, 0, 0}
}
