package security

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The order in which a process gives its rights away: credentials(7),
// capabilities(7).

// Steps adds the steps that take from the process all rights that its
// configuration does not give it, and make it the user that it says. They
// come last in the plan, right before the program, because what comes before
// needs the rights. The warnings say what the container does not get.
//
// With setgroupsDenied, because the process is in a user namespace where it is,
// it keeps the groups that it has, and may ask for no others:
// user_namespaces(7), "Interaction with system calls that change UIDs or GIDs".
func Steps(p *plan.Plan, process *specs.Process, setgroupsDenied bool) (warnings []string, err error) {
	if setgroupsDenied && len(process.User.AdditionalGids) > 0 {
		return nil, hint.Add(fmt.Errorf("process.user.additionalGids %v: setgroups is denied in the container's user namespace", process.User.AdditionalGids),
			"leave them out, or map a range of ids: newgidmap(1), subgid(5)")
	}
	last, err := lastCapability()
	if err != nil {
		return nil, err
	}
	p.Section(chapter, "limits and rights")
	if err := rlimits(p, process.Rlimits); err != nil {
		return nil, err
	}
	sets, warnings := parseCapabilities(process.Capabilities, last)
	dropBounding(p, sets.bounding, last)
	if process.User.UID != 0 {
		// Leaving user 0 empties the permitted set; what the configuration
		// gives is kept across it, and set exactly afterwards.
		p.Add(plan.KeepCapabilities())
	}
	if !setgroupsDenied { // first, because a user other than 0 may not change them
		p.Add(plan.Setgroups(process.User.AdditionalGids...))
	}
	p.Add(plan.Setresgid(int(process.User.GID)), plan.Setresuid(int(process.User.UID)))
	setCapabilities(p, sets)
	if process.NoNewPrivileges {
		p.Add(plan.NoNewPrivileges())
	}
	return warnings, nil
}

// lastCapability is the number of the kernel's last capability.
func lastCapability() (int, error) {
	const file = "/proc/sys/kernel/cap_last_cap"
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("find out which capabilities the kernel has: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n > 63 {
		return 0, fmt.Errorf("find out which capabilities the kernel has: %s holds %q", file, text)
	}
	return n, nil
}
