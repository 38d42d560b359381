package plan

import (
	"errors"
	"runtime"

	"skiff.example/stage01-chroot/plan/machine"
)

// A plan that this very process runs, for what a process can do to itself:
// chroot(2), and then execve(2).

// Run does the plan in this very process. It returns when the last step is
// done or one has failed; after an execve(2) that succeeds it does not return
// at all. What the steps changed stays changed: see chroot(2).
//
// Some calls, unshare(2) among them, change one thread, and a Go program has
// several. Run stays on one thread while it runs, but what a plan may do to a
// whole process needs a process of one thread: that is stage 02's launch.
func Run(p *Plan) error {
	program, err := p.Compile()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	page := machine.NewPage(p.Len())
	if !machine.Loop(&program.Ops[0], len(program.Ops), &program.Registers[0], page) {
		err = p.Failure(page)
	}
	return errors.Join(err, program.Close())
}
