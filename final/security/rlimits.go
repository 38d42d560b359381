package security

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

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
	return nil
}
