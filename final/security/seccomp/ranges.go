package seccomp

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// From names to numbers: what becomes of each of the 2³² numbers that a call of
// an architecture can have, as few ranges. A profile of 400 names is some sixty
// ranges, because most neighbours are allowed together.

// A span is the numbers from first up to the next span's first, of which all
// have the same decision.
type span struct {
	first uint32
	*decision
	wide bool // see arch
}

// armPrivate is where numbers begin that are old, and large all the same: the
// private calls of arm.
const armPrivate = 0xf0000

// spans are what becomes of the calls of one architecture, from first on.
func (p *profile) spans(a *arch, first uint32) []span {
	named, last := p.numbers(a)
	others, newer := &decision{action: p.others}, &decision{action: p.newer}
	if last < 0 {
		newer = others // nothing is known of what the profile's author knew
	}
	var all []span
	next := first
	add := func(d *decision) {
		if len(all) == 0 || !all[len(all)-1].decision.equal(d) {
			all = append(all, span{next, d, a.wide})
		}
	}
	gap := func() {
		if int64(next) > last {
			add(newer)
		} else {
			add(others)
		}
	}
	for _, n := range named {
		if n.first > next {
			gap()
		}
		next = n.first
		add(n.decision)
		next++
	}
	gap()
	return all
}

// numbers finds the calls of an architecture that the profile names, by number,
// and the last of them, or -1.
func (p *profile) numbers(a *arch) (named []span, last int64) {
	last = -1
	a.eachCall(func(name string, number uint32) {
		d := p.calls[name]
		if d != nil {
			d.found = true
			if number&^x32Bit < armPrivate {
				last = int64(number)
			}
		}
		switch name {
		case "socketcall":
			d = p.multiplexed(name, callsSocketcall)
		case "ipc":
			d = p.multiplexed(name, callsIPC)
		}
		if d != nil {
			named = append(named, span{number, d, a.wide})
		}
	})
	return named, last
}

// equal tells whether two decisions are the same, as far as the filter goes.
func (d *decision) equal(other *decision) bool {
	return d.action == other.action && slices.Equal(d.rules, other.rules)
}

// noCall is the number that a tracer gives to a call that is not to be made. It is
// nobody's, and not x32's: ptrace(2), libseccomp's commit "handle the -1 syscall".
const noCall = 1<<32 - 1

// spansOf are what becomes of all calls with this AUDIT_ARCH_*.
func (p *profile) spansOf(audit uint32) []span {
	if audit == unix.AUDIT_ARCH_X86_64 {
		return p.x86()
	}
	i := slices.IndexFunc(p.arches, func(a *arch) bool { return a.audit == audit })
	return p.spans(p.arches[i], 0)
}

// x86 joins the spans of x86-64 and x32, between which a bit of the number
// decides. Calls of the one that the profile does not have end the process, as those
// of any other architecture; without that x32 would be a way around the filter.
func (p *profile) x86() []span {
	var all []span
	kill := &decision{action: unix.SECCOMP_RET_KILL_THREAD}
	for _, half := range []struct {
		name  specs.Arch
		first uint32
	}{{specs.ArchX86_64, 0}, {specs.ArchX32, x32Bit}} {
		if a := archOf(half.name); slices.Contains(p.arches, a) {
			all = append(all, p.spans(a, half.first)...)
		} else {
			all = append(all, span{half.first, kill, false})
		}
	}
	return append(all, span{noCall, &decision{action: p.newer}, false})
}
