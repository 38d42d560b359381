package launch

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
)

// The moment of birth: what the parent asks clone3(2) for. Package machine calls it.

// argsFor asks clone3(2) for a child with its own copy of the memory (no
// CLONE_VM), a pidfd, and default signal handlers: the parent's handlers are
// Go code, and must never run in the child. Its thread-local storage is as new as
// its stack, see machine.Clone.
func argsFor(o Options) machine.CloneArgs {
	args := machine.CloneArgs{
		Flags:      unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_SETTLS | uint64(o.Namespaces),
		ExitSignal: uint64(unix.SIGCHLD),
	}
	if o.Cgroup != nil {
		args.Flags |= unix.CLONE_INTO_CGROUP
		args.Cgroup = uint64(o.Cgroup.Fd())
	}
	return args
}

// Birth is the call that a process with these options is born by, as strace(1)
// prints it. It is not in the plan, because it is the parent's.
func (o Options) Birth() string {
	args := argsFor(o)
	return fmt.Sprintf("clone3({flags=%s, exit_signal=SIGCHLD, stack=child_stack, tls=child_tls}, %d)", plan.CloneFlags(args.Flags), unsafe.Sizeof(args))
}
