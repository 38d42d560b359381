package security

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The order in which a process gives its rights away: credentials(7),
// capabilities(7).

// Rights are what a process may do, and how it comes to that.
type Rights struct {
	Process *specs.Process

	// SetgroupsDenied says that the process, because it is in a user namespace
	// where it is, keeps the groups that it has, and may ask for no others:
	// user_namespaces(7), "Interaction with system calls that change UIDs or
	// GIDs".
	SetgroupsDenied bool

	// Withheld are capabilities that the process cannot get, a bit a capability:
	// see the function Withheld.
	Withheld uint64

	// AsUser are steps for the process when it is its user, and may still make
	// any system call.
	AsUser []plan.Step

	// Filter decides about the process's further system calls. Nil decides
	// about none.
	Filter *seccomp.Filter
	// Handover is how the listener of a filter that notifies gets to the parent.
	Handover *Handover
}

// Steps adds the steps that take from the process all rights that its
// configuration does not give it, and make it the user that it says. They
// come last in the plan, before the wait for start and the program, because
// what comes before needs the rights. The warnings say what the container does
// not get.
func (r *Rights) Steps(p *plan.Plan) (warnings []string, err error) {
	user := r.Process.User
	if r.SetgroupsDenied && len(user.AdditionalGids) > 0 {
		return nil, hint.Add(fmt.Errorf("process.user.additionalGids %v: setgroups is denied in the container's user namespace", user.AdditionalGids),
			"leave them out, or map a range of ids: newgidmap(1), subgid(5)")
	}
	if r.Filter != nil && r.Filter.Notifies() && r.Handover == nil {
		return nil, errors.New("linux.seccomp: SCMP_ACT_NOTIFY: nobody is there to take the listener")
	}
	last, err := lastCapability()
	if err != nil {
		return nil, err
	}
	p.Section(chapter, "limits and rights")
	if err := rlimits(p, r.Process.Rlimits); err != nil {
		return nil, err
	}
	sets, warnings := parseCapabilities(r.Process.Capabilities, last, r.Withheld)
	dropBounding(p, sets.bounding, last)
	if user.UID != 0 {
		// Leaving user 0 empties the permitted set; what the configuration
		// gives is kept across it, and set exactly afterwards.
		p.Add(plan.KeepCapabilities())
	}
	if !r.SetgroupsDenied { // first, because a user other than 0 may not change them
		p.Add(plan.Setgroups(user.AdditionalGids...))
	}
	p.Add(plan.Setresgid(int(user.GID)), plan.Setresuid(int(user.UID)))
	p.Add(r.AsUser...)
	if !r.Process.NoNewPrivileges {
		r.filterWithCapability(p, sets)
	}
	setCapabilities(p, sets)
	if r.Process.NoNewPrivileges {
		p.Add(plan.NoNewPrivileges())
		if r.Filter != nil && r.Filter.Notifies() {
			r.install(p)
		}
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
