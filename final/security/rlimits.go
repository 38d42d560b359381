package security

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// Resource limits: getrlimit(2), runtime-spec config.md, "POSIX process".

// rlimits adds the steps that set resource limits. A type that is not known,
// or named twice, is an error (runtime-spec config.md, "POSIX process").
func rlimits(p *plan.Plan, limits []specs.POSIXRlimit) error {
	seen := map[string]bool{}
	for _, l := range limits {
		resource, ok := plan.RlimitNumber(l.Type)
		if !ok {
			return fmt.Errorf("rlimit %q: no such resource", l.Type)
		}
		if seen[l.Type] {
			return fmt.Errorf("rlimit %q is set twice", l.Type)
		}
		seen[l.Type] = true
		if l.Soft > l.Hard {
			return fmt.Errorf("rlimit %q: the soft limit %d is above the hard limit %d", l.Type, l.Soft, l.Hard)
		}
		step := plan.Prlimit(resource, unix.Rlimit{Cur: l.Soft, Max: l.Hard})
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err == nil && now.Max < l.Hard {
			step = step.Hint(unix.EPERM, cannotRaise(l, now))
		}
		p.Add(step)
	}
	if before, raised := fileLimit(); raised && !seen["RLIMIT_NOFILE"] {
		p.Add(plan.Prlimit(unix.RLIMIT_NOFILE, before).Doing("restore RLIMIT_NOFILE, which Go has raised"))
	}
	return nil
}

// cannotRaise says what is wrong when a limit is to be raised above the hard one.
func cannotRaise(l specs.POSIXRlimit, now unix.Rlimit) string {
	return fmt.Sprintf("cannot raise %s to %d: the hard limit is %d, and raising it needs CAP_SYS_RESOURCE", l.Type, l.Hard, now.Max)
}

// RaiseLimits raises the hard limits of a process that cannot do so itself, because it
// is in another user namespace than the first one: CAP_SYS_RESOURCE there does not
// count (setrlimit(2)). Lower limits and all soft ones are for its plan, which sets them
// late: an early one could make the steps in between fail.
func RaiseLimits(pid int, limits []specs.POSIXRlimit) error {
	for _, l := range limits {
		var now unix.Rlimit
		resource, _ := plan.RlimitNumber(l.Type) // the plan has refused what is none
		if err := unix.Prlimit(pid, resource, nil, &now); err != nil {
			return fmt.Errorf("look at %s: %w", l.Type, err)
		}
		if l.Hard <= now.Max {
			continue
		}
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: now.Cur, Max: l.Hard}, nil); err != nil {
			return hint.Add(fmt.Errorf("set the hard limit of %s to %d: %w", l.Type, l.Hard, err), cannotRaise(l, now))
		}
	}
	return nil
}

// RaiseFirst adds the steps of a process that does so itself, as long as it is in our
// user namespace, before it joins another one.
func RaiseFirst(p *plan.Plan, limits []specs.POSIXRlimit) {
	for _, l := range limits {
		var now unix.Rlimit
		resource, ok := plan.RlimitNumber(l.Type)
		if !ok || unix.Getrlimit(resource, &now) != nil || l.Hard <= now.Max {
			continue
		}
		p.Section(chapter, "limits that the user namespace does not let raise")
		p.Add(plan.Prlimit(resource, unix.Rlimit{Cur: now.Cur, Max: l.Hard}).Hint(unix.EPERM, cannotRaise(l, now)))
	}
}

// RestoreLimits adds the step that gives a program of the host the limits that
// this process was started with.
func RestoreLimits(p *plan.Plan) error { return rlimits(p, nil) }

// fileLimit is the limit on open files that this process was started with,
// and whether Go has raised it since. Every Go program raises the soft limit
// when it starts, to one less than the hard limit, and gives the old one back
// to what it starts in the usual way (package syscall, rlimit.go); a plan must
// do so itself. What the limit was Go does not tell: it is taken from this
// process's parent or, if that has raised its own, the kernel's default.
func fileLimit() (before unix.Rlimit, raised bool) {
	const kernelDefault = 1024 // INR_OPEN_CUR
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil || now.Cur != now.Max-1 {
		return now, false
	}
	before = unix.Rlimit{Cur: min(kernelDefault, now.Max), Max: now.Max}
	var parent unix.Rlimit
	err := unix.Prlimit(unix.Getppid(), unix.RLIMIT_NOFILE, nil, &parent)
	if err == nil && parent.Max == now.Max && parent.Cur != parent.Max-1 {
		before = parent
	}
	return before, true
}
