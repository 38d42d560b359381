// Package security turns what a container's configuration says about rights
// into steps of its plan: capabilities(7), resource limits (getrlimit(2)),
// no_new_privs, and who the process is (credentials(7)).
package security

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 7

// capabilitySets are the five sets of capabilities(7), a bit a capability.
type capabilitySets struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// parseCapabilities reads the names. One that this program does not know, that
// the kernel does not have, or that is withheld, is a warning and no error, as
// runtime-spec config.md says: the container then has less than it asked for,
// never more.
func parseCapabilities(c *specs.LinuxCapabilities, last int, withheld uint64) (sets capabilitySets, warnings []string) {
	if c == nil {
		return sets, nil
	}
	warn := func(name, why string) {
		text := "capability " + name + " is not " + why + "; the container does not have it"
		if !slices.Contains(warnings, text) { // most stand in several sets
			warnings = append(warnings, text)
		}
	}
	parse := func(names []string) (set uint64) {
		for _, name := range names {
			n, ok := plan.CapabilityNumber(strings.ToUpper(name))
			switch {
			case !ok || n > last:
				warn(name, "known to this kernel or to skiff")
			case withheld&(1<<n) != 0:
				warn(name, "one that skiff has itself")
			default:
				set |= 1 << n
			}
		}
		return set
	}
	sets.bounding, sets.effective = parse(c.Bounding), parse(c.Effective)
	sets.permitted, sets.inheritable = parse(c.Permitted), parse(c.Inheritable)
	// The kernel wants ambient to be permitted and inheritable; what is not,
	// is left out. Nothing is made inheritable for its sake: that was
	// CVE-2022-29162.
	sets.ambient = parse(c.Ambient) & sets.permitted & sets.inheritable
	return sets, warnings
}

// Withheld are the capabilities that this process does not have. Its children
// have them only in a user namespace of their own.
func Withheld() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var own [2]unix.CapUserData
	if err := unix.Capget(&header, &own[0]); err != nil {
		return 0, fmt.Errorf("look at the capabilities of this process: %w", err)
	}
	return ^(uint64(own[0].Permitted) | uint64(own[1].Permitted)<<32), nil
}

// dropBounding adds the steps that take all capabilities from the bounding
// set that are not in keep. It must come while CAP_SETPCAP is effective.
func dropBounding(p *plan.Plan, keep uint64, last int) {
	for n := 0; n <= last; n++ {
		if keep&(1<<n) == 0 {
			p.Add(plan.DropBounding(n))
		}
	}
}

// setCapabilities adds the steps that leave exactly these sets. It must come
// after the change of user.
func setCapabilities(p *plan.Plan, sets capabilitySets) {
	p.Add(plan.Capset(plan.Capabilities{Effective: sets.effective, Permitted: sets.permitted, Inheritable: sets.inheritable}))
	p.Add(plan.ClearAmbient())
	for rest := sets.ambient; rest != 0; rest &= rest - 1 {
		p.Add(plan.RaiseAmbient(bits.TrailingZeros64(rest)))
	}
}
