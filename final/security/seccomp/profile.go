package seccomp

import (
	"errors"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// What a profile says: its words, which are libseccomp's (seccomp_rule_add(3)),
// become a decision for each call that it names. Everything that a profile can
// have wrong is found here.

// A profile is a specs.LinuxSeccomp that was read.
type profile struct {
	others uint32 // what becomes of calls that the profile does not name
	newer  uint32 // what becomes of calls that are newer than all that it names
	arches []*arch
	flags  uint64
	calls  map[string]*decision
}

// A decision is what becomes of a call: what the first of the rules says whose
// conditions are met, or else the action. Without rules it is always the action.
type decision struct {
	action uint32 // SECCOMP_RET_*
	rules  []*rule
	fixed  bool // no further rule changes it
	found  bool // an architecture of the profile has the call
}

// A rule is an action under conditions: of each group of all at least one must be
// met. A group is what the profile says about one argument.
type rule struct {
	action uint32
	groups [][]specs.LinuxSeccompArg
}

// readProfile reads and checks a profile.
func readProfile(s *specs.LinuxSeccomp) (p *profile, err error) {
	p = &profile{calls: make(map[string]*decision, 512)}
	if p.others, err = actionOf(s.DefaultAction, s.DefaultErrnoRet, "defaultAction", "defaultErrnoRet"); err != nil {
		return nil, err
	}
	if s.DefaultAction == specs.ActNotify {
		return nil, errors.New("defaultAction SCMP_ACT_NOTIFY: the container's process could not even send its listener")
	}
	p.newer = newerThan(p.others)
	if p.arches, err = archesOf(s.Architectures); err != nil {
		return nil, err
	}
	for i := range s.Syscalls {
		if err := p.add(&s.Syscalls[i]); err != nil {
			return nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
	}
	if p.flags, err = flagsOf(s); err != nil {
		return nil, err
	}
	return p, p.checkListener(s)
}

// newerThan is what becomes of the calls that are newer than the profile when
// the others have this action. Programs try new calls, and know that the kernel
// is older when they get ENOSYS; at EPERM they give up. So a profile that
// forbids what it does not name says ENOSYS for what its author could not have
// known. A tracer can tell itself; all as in runc.
func newerThan(others uint32) uint32 {
	switch others & unix.SECCOMP_RET_ACTION_FULL {
	case unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_TRACE:
		return others
	}
	return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
}

// maxErrno is the largest errno that the kernel hands out: linux/err.h.
const maxErrno = 4095

// wordOf is what a filter returns for an action: seccomp(2), "Filter return values".
func wordOf(action specs.LinuxSeccompAction) (word uint32, known bool) {
	switch action {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, true
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, true
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, true
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO, true
	case specs.ActTrace:
		return unix.SECCOMP_RET_TRACE, true
	case specs.ActNotify:
		return unix.SECCOMP_RET_USER_NOTIF, true
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, true
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, true
	}
	return 0, false
}

// actionOf is the word for an action. Two of them carry an errno, which is EPERM if
// it is not said; a tracer gets it as its message. The last two name the fields, for
// errors.
func actionOf(action specs.LinuxSeccompAction, errno *uint, field, errnoField string) (uint32, error) {
	word, known := wordOf(action)
	carries, value := action == specs.ActErrno || action == specs.ActTrace, uint(0)
	switch {
	case !known:
		return 0, hint.Add(fmt.Errorf("%s %q: no such action", field, action),
			"SCMP_ACT_ and one of ALLOW, LOG, TRACE, NOTIFY, ERRNO, TRAP, KILL_THREAD, KILL_PROCESS")
	case errno != nil && !carries:
		return 0, fmt.Errorf("%s %d: %s returns no errno", errnoField, *errno, action)
	case errno != nil && *errno > maxErrno:
		return 0, fmt.Errorf("%s %d: want 0 to %d", errnoField, *errno, maxErrno)
	case errno != nil:
		value = *errno
	case carries:
		value = uint(unix.EPERM)
	}
	return word | uint32(value), nil
}

// add reads one entry of syscalls.
func (p *profile) add(s *specs.LinuxSyscall) error {
	action, err := actionOf(s.Action, s.ErrnoRet, "action", "errnoRet")
	if err != nil {
		return err
	}
	groups, err := groupsOf(s.Args)
	if err != nil {
		return err
	}
	if len(s.Names) == 0 {
		return errors.New("names is empty")
	}
	r := &rule{action, groups}
	for _, name := range s.Names {
		switch {
		case name == "":
			return errors.New("names: a name is empty")
		case name == "write" && s.Action == specs.ActNotify:
			return errors.New("SCMP_ACT_NOTIFY for write: the container's process could not send its listener")
		}
		d := p.calls[name]
		if d == nil {
			d = &decision{action: p.others}
			p.calls[name] = d
		}
		d.add(r, p.others)
	}
	return nil
}

// add lets one more rule have its say. As in libseccomp, one without conditions
// counts before all with conditions, whichever comes first, and among its
// like the first counts; as in runc, one that says what is said of all others
// is left out.
func (d *decision) add(r *rule, others uint32) {
	switch {
	case d.fixed || r.action == others:
	case len(r.groups) == 0:
		d.action, d.rules, d.fixed = r.action, nil, true
	default:
		d.rules = append(d.rules, r)
	}
}

// stricter tells whether an action restricts a call more than another one. The
// kernel orders them by their value, as a signed number: seccomp(2).
func stricter(action, than uint32) bool {
	return int32(action&unix.SECCOMP_RET_ACTION_FULL) < int32(than&unix.SECCOMP_RET_ACTION_FULL)
}

// restricts tells whether a call may come off worse than with this action.
func (d *decision) restricts(others uint32) bool {
	return stricter(d.action, others) || slices.ContainsFunc(d.rules, func(r *rule) bool { return stricter(r.action, others) })
}

// groupsOf puts the conditions on one argument together: of these one suffices,
// while all arguments must fit.
//
// Where one entry has several conditions on one argument and others besides,
// runc lets any single one of them suffice; there it is this reading that gives
// the container less.
func groupsOf(args []specs.LinuxSeccompArg) (groups [][]specs.LinuxSeccompArg, err error) {
	const most = 6 // arguments of a call
	var of [most][]specs.LinuxSeccompArg
	for i, a := range args {
		switch a.Op {
		case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual:
		default:
			return nil, hint.Add(fmt.Errorf("args[%d]: op %q: no such operator", i, a.Op), "SCMP_CMP_ and one of NE, LT, LE, EQ, GE, GT, MASKED_EQ")
		}
		if a.Index >= most {
			return nil, fmt.Errorf("args[%d]: index %d: a call has arguments 0 to %d", i, a.Index, most-1)
		}
		of[a.Index] = append(of[a.Index], a)
	}
	for _, group := range of {
		if len(group) > 0 {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

// filterFlag is the bit of a flag that a profile can have, or 0.
func filterFlag(flag specs.LinuxSeccompFlag) uint64 {
	switch flag {
	case "SECCOMP_FILTER_FLAG_TSYNC":
		return unix.SECCOMP_FILTER_FLAG_TSYNC
	case specs.LinuxSeccompFlagLog:
		return unix.SECCOMP_FILTER_FLAG_LOG
	case specs.LinuxSeccompFlagSpecAllow:
		return unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	case specs.LinuxSeccompFlagWaitKillableRecv:
		return unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	return 0
}

// flagsOf reads the flags for seccomp(2). A profile without any, which is
// another thing than one with none, has SPEC_ALLOW, as in runc: the container's
// programs run with the speculation that all others on the host have
// (Documentation/userspace-api/spec_ctrl.rst).
func flagsOf(s *specs.LinuxSeccomp) (flags uint64, err error) {
	if s.Flags == nil {
		flags = unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	}
	for _, f := range s.Flags {
		bit := filterFlag(f)
		if bit == 0 {
			return 0, hint.Add(fmt.Errorf("flags: %q: no such flag", f), "SECCOMP_FILTER_FLAG_ and one of TSYNC, LOG, SPEC_ALLOW, WAIT_KILLABLE_RECV")
		}
		flags |= bit
	}
	if !Notifies(s) {
		return flags &^ unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, nil // is about notifications only
	}
	flags |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
	if flags&unix.SECCOMP_FILTER_FLAG_TSYNC != 0 {
		flags |= unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH // else the two exclude each other: both return a number
	}
	return flags, nil
}

// checkListener makes sure that who is to answer can be reached.
func (p *profile) checkListener(s *specs.LinuxSeccomp) error {
	switch {
	case p.flags&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 && s.ListenerPath == "":
		return hint.Add(errors.New("listenerPath is missing: SCMP_ACT_NOTIFY needs it"), "the unix socket of the agent that answers for the calls")
	case s.ListenerMetadata != "" && s.ListenerPath == "":
		return errors.New("listenerMetadata is set, and listenerPath is not")
	}
	return nil
}
