package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// From ranges to a program: which architecture, then a binary search for the
// range that holds the call's number, some seven comparisons in all.
//
// Most calls do not even take those. When a filter is installed, the kernel tries
// it on every number, and where it sees the filter allow a call without a look at
// the arguments it remembers that in a bitmap and runs the filter no more for it
// (seccomp_is_const_allow in kernel/seccomp.c, Linux 5.11). The kernel follows no
// instructions but the few that are used up to there: load, and, compare with a
// constant, jump, return.

// A label is a place in a program: how many instructions there are from it to
// the end. Programs are made from their end to their beginning. BPF jumps only
// go forward, so where a jump leads is known when it is made.
type label int

// An assembler holds a program, the last instruction first.
type assembler struct {
	code    []unix.SockFilter
	returns []returned
}

// returned is where the program ends with a word.
type returned struct {
	word uint32
	at   label
}

// emit puts an instruction in front of all others.
func (a *assembler) emit(code uint16, k uint32) label {
	a.code = append(a.code, unix.SockFilter{Code: code, K: k})
	return label(len(a.code))
}

// then is emit for an instruction after which the program goes on at next.
func (a *assembler) then(code uint16, k uint32, next label) label {
	if int(next) != len(a.code) {
		a.goTo(next)
	}
	return a.emit(code, k)
}

// goTo goes on at l, however far that is.
func (a *assembler) goTo(l label) label {
	if target := a.code[l-1]; target.Code == unix.BPF_RET|unix.BPF_K {
		return a.emit(target.Code, target.K)
	}
	return a.emit(unix.BPF_JMP|unix.BPF_JA, uint32(len(a.code)-int(l)))
}

// reach is how many instructions a conditional jump can skip, less one in case
// the jump's other way out needs a step of its own.
const reach = 255 - 1

// near returns a label from which the program goes on as it does from l, and
// which a conditional jump can reach that comes next, or next but one.
func (a *assembler) near(l label) label {
	if len(a.code)-int(l) <= reach {
		return l
	}
	return a.goTo(l)
}

// jump goes on at yes if the comparison (unix.BPF_JEQ …) with k holds, else at no.
func (a *assembler) jump(comparison uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes = a.near(yes)
	no = a.near(no)
	n := label(len(a.code))
	a.code = append(a.code, unix.SockFilter{
		Code: unix.BPF_JMP | unix.BPF_K | comparison, Jt: uint8(n - yes), Jf: uint8(n - no), K: k,
	})
	return n + 1
}

// ret ends the program with a word. An end that is near serves again.
func (a *assembler) ret(word uint32) label {
	for i := range a.returns {
		r := &a.returns[i]
		if r.word != word {
			continue
		}
		if len(a.code)-int(r.at) > reach {
			r.at = a.emit(unix.BPF_RET|unix.BPF_K, word)
		}
		return r.at
	}
	l := a.emit(unix.BPF_RET|unix.BPF_K, word)
	a.returns = append(a.returns, returned{word, l})
	return l
}

// load reads 32 bits of struct seccomp_data into the accumulator.
func (a *assembler) load(offset uint32, next label) label {
	return a.then(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset, next)
}

// Where the fields of struct seccomp_data are: linux/seccomp.h.
const (
	numberOffset = 0
	archOffset   = 4
	argsOffset   = 16 // six of 8 bytes; both of our architectures have the lower half first
)

// program compiles the profile.
func (p *profile) program() []unix.SockFilter {
	a := &assembler{code: make([]unix.SockFilter, 0, 1024)}
	var audits []uint32 // x86-64 and x32 share one
	for _, of := range p.arches {
		if !slices.Contains(audits, of.audit) {
			audits = append(audits, of.audit)
		}
	}
	sections := make([]label, len(audits))
	for i, audit := range slices.Backward(audits) { // the native one is first, nearest to where the program begins
		sections[i] = a.load(numberOffset, a.search(p.spansOf(audit)))
	}
	next := a.ret(unix.SECCOMP_RET_KILL_THREAD)
	for i, audit := range slices.Backward(audits) {
		next = a.jump(unix.BPF_JEQ, audit, sections[i], next)
	}
	a.load(archOffset, next)
	slices.Reverse(a.code)
	return a.code
}

// search finds the span that holds the number in the accumulator.
func (a *assembler) search(spans []span) label {
	if len(spans) == 1 {
		return a.decide(spans[0])
	}
	middle := len(spans) / 2
	above := a.search(spans[middle:])
	below := a.search(spans[:middle])
	return a.jump(unix.BPF_JGE, spans[middle].first, above, below)
}

// decide does what is said of the calls of a span.
func (a *assembler) decide(s span) label {
	next := a.ret(s.action)
	for _, r := range slices.Backward(s.rules) {
		next = a.rule(r, s.wide, next)
	}
	return next
}
