package launch

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
)

// The moment of birth: clone3(2), called without the Go runtime's knowledge, and
// what must be true on both sides of it. See also signal-safety(7).

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

// clone starts the child and lets it run the program. It returns in the
// parent only.
//
// All signals are blocked before, because a signal that came between clone3
// and execve would be handled by nobody; the parent's mask comes back here,
// the child's with a step of its plan (plan.SetSignalMask).
func clone(args machine.CloneArgs, program *machine.Program) (pid, pidfd int, errno syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	blocked, before := ^uint64(0), uint64(0)
	setMask(&blocked, &before)
	pid, pidfd, errno = machine.Clone(args, program, failedStatus)
	setMask(&before, nil)
	return pid, pidfd, errno
}

// setMask is rt_sigprocmask(2) for this thread.
func setMask(mask, old *uint64) {
	const kernelMaskSize = 8
	// Safety: both outlive the call. It fails only for wrong arguments.
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(mask)), uintptr(unsafe.Pointer(old)), kernelMaskSize, 0, 0)
}
