package security

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

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
			step = step.Hint(unix.EPERM, fmt.Sprintf("cannot raise %s to %d: the hard limit is %d, and raising it needs CAP_SYS_RESOURCE",
				l.Type, l.Hard, now.Max))
		}
		p.Add(step)
	}
	if before, raised := fileLimit(); raised && !seen["RLIMIT_NOFILE"] {
		p.Add(plan.Prlimit(unix.RLIMIT_NOFILE, before).Doing("restore RLIMIT_NOFILE, which Go has raised"))
	}
	return nil
}

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
