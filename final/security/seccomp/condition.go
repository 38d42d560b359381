package seccomp

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Conditions on arguments. An argument has 64 bits, and the machine's words have
// 32, so that a comparison is one of the upper halves and one of the lower.
// For architectures of 32 bits only the lower halves count, of the argument and
// of the profile's value: -1 is 0xffffffff there.

// rule returns the rule's action if one condition of each group holds; else the
// program goes on at no.
func (a *assembler) rule(r *rule, wide bool, no label) label {
	next := a.ret(r.action)
	for i := len(r.groups) - 1; i >= 0; i-- {
		group, met, failed := r.groups[i], next, no
		for j := len(group) - 1; j >= 0; j-- {
			failed = a.condition(group[j], wide, met, failed)
		}
		next = failed
	}
	return next
}

// condition goes on at yes if the condition holds, else at no.
func (a *assembler) condition(c specs.LinuxSeccompArg, wide bool, yes, no label) label {
	switch c.Op {
	case specs.OpEqualTo:
		return a.equal(c.Index, ^uint64(0), c.Value, wide, yes, no)
	case specs.OpNotEqual:
		return a.equal(c.Index, ^uint64(0), c.Value, wide, no, yes)
	case specs.OpMaskedEqual: // value is the mask
		return a.equal(c.Index, c.Value, c.ValueTwo, wide, yes, no)
	case specs.OpGreaterThan:
		return a.greater(unix.BPF_JGT, c, wide, yes, no)
	case specs.OpGreaterEqual:
		return a.greater(unix.BPF_JGE, c, wide, yes, no)
	case specs.OpLessEqual:
		return a.greater(unix.BPF_JGT, c, wide, no, yes)
	}
	return a.greater(unix.BPF_JGE, c, wide, no, yes) // less than: groupsOf lets no others through
}

// halves are where the halves of an argument are.
func halves(index uint) (low, high uint32) {
	low = argsOffset + 8*uint32(index)
	return low, low + 4
}

// equal compares the bits of an argument that are in the mask with a value.
func (a *assembler) equal(index uint, mask, value uint64, wide bool, yes, no label) label {
	low, high := halves(index)
	next := a.equalHalf(low, uint32(mask), uint32(value), yes, no)
	if wide {
		next = a.equalHalf(high, uint32(mask>>32), uint32(value>>32), next, no)
	}
	return next
}

// equalHalf is equal for 32 bits. Bits of the value that the mask lacks are not
// looked at.
func (a *assembler) equalHalf(offset, mask, value uint32, yes, no label) label {
	if mask == 0 {
		return yes
	}
	next := a.jump(unix.BPF_JEQ, value&mask, yes, no)
	if mask != ^uint32(0) {
		next = a.then(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask, next)
	}
	return a.load(offset, next)
}

// greater compares an argument, as an unsigned number, with a value. The upper
// halves decide unless they are equal.
func (a *assembler) greater(comparison uint16, c specs.LinuxSeccompArg, wide bool, yes, no label) label {
	low, high := halves(c.Index)
	next := a.load(low, a.jump(comparison, uint32(c.Value), yes, no))
	if !wide {
		return next
	}
	next = a.jump(unix.BPF_JEQ, uint32(c.Value>>32), next, no)
	next = a.jump(unix.BPF_JGT, uint32(c.Value>>32), yes, next)
	return a.load(high, next)
}
