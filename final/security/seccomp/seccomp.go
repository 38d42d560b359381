// Package seccomp compiles the seccomp profile of a container's configuration
// (runtime-spec config-linux.md, "Seccomp") to the program that the kernel runs
// before each system call: seccomp(2).
//
// The kernel lends the machine for it from its packet filters: classic BPF,
// two registers, jumps that only go forward (so every program ends), at most
// 4096 instructions. The program sees a struct seccomp_data: the number of the
// call, the architecture by whose convention it was made, and its arguments as
// the registers hold them. It cannot follow pointers: what they point to could
// change between the look and the call. It ends with a word that says what
// becomes of the call: done, refused with an errno, reported, the end of the
// process.
//
// The way from profile to program:
//
//   - profile.go   what the profile says, call by call: a decision
//   - arch.go      which numbers the calls have: another table for each architecture
//   - tables.go    those tables, written by mktables
//   - ranges.go    neighbours with the same decision become one range of numbers
//   - program.go   a binary search for the range, in BPF
//   - condition.go what depends on arguments, in BPF
//
// libseccomp does the same for runc and crun. This package agrees with it on what a
// profile means (a test compares verdicts with a filter that runc has installed),
// and with runc on what it adds to libseccomp: ENOSYS for calls that are newer than
// the profile.
package seccomp

import (
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// A Filter is a compiled profile, ready for seccomp(2).
type Filter struct {
	Program []unix.SockFilter
	Flags   uint64 // SECCOMP_FILTER_FLAG_*

	// ListenerPath is the unix socket on which the agent waits that answers for
	// SCMP_ACT_NOTIFY; "" when the profile does not notify. ListenerMetadata is
	// for the agent.
	ListenerPath, ListenerMetadata string

	calls  map[string]*decision
	others uint32 // the default action
}

// maxInstructions is the kernel's limit: BPF_MAXINSNS.
const maxInstructions = 4096

// Compile makes the filter of a profile. The errors name the field that is
// wrong. The warnings are about names of calls that no architecture has and that
// the profile wants to restrict; such a call might run under another name.
func Compile(s *specs.LinuxSeccomp) (f *Filter, warnings []string, err error) {
	p, err := readProfile(s)
	if err != nil {
		return nil, nil, fmt.Errorf("linux.seccomp: %w", err)
	}
	program := p.program()
	if len(program) > maxInstructions {
		return nil, nil, hint.Add(fmt.Errorf("linux.seccomp: the profile takes %d BPF instructions, the kernel allows %d", len(program), maxInstructions),
			"list fewer architectures, or fewer rules with arguments")
	}
	f = &Filter{Program: program, Flags: p.flags, calls: p.calls, others: p.others}
	if f.Notifies() {
		f.ListenerPath, f.ListenerMetadata = s.ListenerPath, s.ListenerMetadata
	}
	return f, p.unknown(), nil
}

// Notifies tells whether the filter hands calls over to an agent: then installing
// it returns the descriptor on which the agent listens (seccomp_unotify(2)).
func (f *Filter) Notifies() bool { return f.Flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 }

// Notifies is the same for a profile that was not yet compiled; nil does not.
func Notifies(s *specs.LinuxSeccomp) bool {
	if s == nil {
		return false
	}
	for _, c := range s.Syscalls {
		if c.Action == specs.ActNotify && len(c.Names) > 0 {
			return true
		}
	}
	return false
}

// Refuses tells whether the filter keeps this call from being made, whatever
// its arguments. A tracer or an agent may still let it through.
func (f *Filter) Refuses(call string) bool {
	action := f.others
	if d, ok := f.calls[call]; ok {
		if len(d.rules) > 0 {
			return false
		}
		action = d.action
	}
	switch action & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_USER_NOTIF:
		return false
	}
	return true
}

// unknown warns of the names that no table has, if the profile restricts them.
func (p *profile) unknown() (warnings []string) {
	for name, d := range p.calls {
		if !d.found && d.restricts(p.others) && !inAnyTable(name) {
			warnings = append(warnings, fmt.Sprintf("linux.seccomp: no architecture has a system call %q: nothing is restricted by that name", name))
		}
	}
	slices.Sort(warnings)
	return warnings
}
