package security

import (
	"fmt"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// Where in the plan the seccomp filter comes: seccomp(2). It holds for what is
// left of the plan, too, and what is not allowed to the program would not be
// allowed to the plan. So it comes as late as it can.
//
// To install it takes no_new_privs, or CAP_SYS_ADMIN. With no_new_privs it is the
// last step before execve(2). Without, it comes where the process has become the
// container's user but has not yet dropped that capability; after it come capset,
// prctl, what tells create that all is ready and waits for start (write, close,
// read), and rt_sigprocmask. runc needs more than these at the same place.

// A Handover is a pair of connected sockets, the parent's and the child's end,
// over which the child tells the number of its listener, and then waits until the
// parent has taken it: seccomp_unotify(2), pidfd_getfd(2). Both are open in the
// child, which was born with all that the parent has open.
type Handover struct{ Parent, Child plan.Descriptor }

// Taken is the byte that the parent sends when it has the listener.
const Taken = 't'

// filterWithCapability installs the filter while the process is privileged.
func (r *Rights) filterWithCapability(p *plan.Plan, sets capabilitySets) {
	if r.Filter == nil {
		return
	}
	if r.Process.User.UID != 0 { // leaving user 0 has emptied the effective set
		const admin = 1 << unix.CAP_SYS_ADMIN
		p.Add(plan.Capset(plan.Capabilities{Effective: admin, Permitted: sets.permitted | admin, Inheritable: sets.inheritable}).
			Doing("keep CAP_SYS_ADMIN for the seccomp filter"))
	}
	r.install(p)
}

// LastSteps adds the steps that come right before the program.
func (r *Rights) LastSteps(p *plan.Plan) {
	if r.Filter != nil && r.Process.NoNewPrivileges && !r.Filter.Notifies() {
		r.install(p)
	}
}

// install adds the steps that install the filter, and hand its listener over if
// it has one. The listener itself is closed at execve: the kernel makes it so.
func (r *Rights) install(p *plan.Plan) {
	p.Section(chapter, "the seccomp filter")
	step := plan.Seccomp(r.Filter.Program, r.Filter.Flags)
	if !r.Filter.Notifies() {
		p.Add(step)
		return
	}
	listener := p.Register("listener")
	p.Add(
		plan.Close(r.Handover.Parent), // or the read below would not end when the parent does
		step.Into(listener),
		plan.WriteRegister(r.Handover.Child, listener).Doing("tell the parent the seccomp listener"),
		plan.ReadByte(r.Handover.Child, Taken).Doing("wait until the parent has the seccomp listener"),
	)
}

// Check makes sure that the filter lets the steps be made that come after it.
// An error here says more than SIGSYS or "operation not permitted" would, and
// a filter that returns 0 instead of making the call would not even fail.
func (r *Rights) Check(p *plan.Plan) error {
	if r.Filter == nil {
		return nil
	}
	installed := false
	for _, s := range p.Steps() {
		if installed && r.Filter.Refuses(s.Call()) {
			advice := "allow it in the profile"
			if !r.Process.NoNewPrivileges && s.Call() != "execve" {
				advice += ", or set process.noNewPrivileges: then the filter comes last"
			}
			return hint.Add(fmt.Errorf("linux.seccomp refuses %s, which is needed after it to %s", s.Call(), s.What()), advice)
		}
		installed = installed || s.Call() == "seccomp"
	}
	return nil
}
