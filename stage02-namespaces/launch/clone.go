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

// cloneArgs is struct clone_args of clone3(2), in its third version (88
// bytes, Linux 5.7).
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal uint64
	stack, stackSize, tls                         uint64
	setTid, setTidSize, cgroup                    uint64
}

// argsFor asks clone3(2) for a child with its own copy of the memory (no
// CLONE_VM), a pidfd, and default signal handlers: the parent's handlers are
// Go code, and must never run in the child.
func argsFor(o Options) cloneArgs {
	args := cloneArgs{
		flags:      unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND | uint64(o.Namespaces),
		exitSignal: uint64(unix.SIGCHLD),
	}
	if o.Cgroup != nil {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(o.Cgroup.Fd())
	}
	return args
}

// Birth is the call that a process with these options is born by, as strace(1)
// prints it. It is not in the plan, because it is the parent's.
func (o Options) Birth() string {
	args := argsFor(o)
	return fmt.Sprintf("clone3({flags=%s, exit_signal=SIGCHLD}, %d)", plan.CloneFlags(args.flags), unsafe.Sizeof(args))
}

// clone starts the child and lets it run the program. It returns in the
// parent only.
//
// All signals are blocked before, because a signal that came between clone3
// and execve would be handled by nobody; the parent's mask comes back here,
// the child's with a step of its plan (plan.SetSignalMask).
func clone(args *cloneArgs, pidfd *int32, program *machine.Program) (pid int, errno syscall.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	blocked, before := ^uint64(0), uint64(0)
	setMask(&blocked, &before)
	r, errno := cloneAndRun(args, pidfd, &program.Ops[0], len(program.Ops), &program.Registers[0], program.Page)
	setMask(&before, nil)
	runtime.KeepAlive(program)
	return int(r), errno
}

// setMask is rt_sigprocmask(2) for this thread.
func setMask(mask, old *uint64) {
	const kernelMaskSize = 8
	// Safety: both outlive the call. It fails only for wrong arguments.
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(mask)), uintptr(unsafe.Pointer(old)), kernelMaskSize, 0, 0)
}

// cloneAndRun is where one process becomes two. The child has this thread's
// stack and goes on right here, as the only thread of its process, so from
// here to execve nothing may need the Go runtime.
//
// Safety: nosplit, so that the child does not try to grow the stack; norace,
// because the race detector is a runtime of its own; noinline, so that the
// pragmas hold. What it calls is nosplit too (package machine). The address of
// pidfd is taken here and not before: pidfd may be on this stack, which cannot
// move from here on.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func cloneAndRun(args *cloneArgs, pidfd *int32, ops *machine.Op, count int, registers *uintptr, page *machine.Page) (uintptr, syscall.Errno) {
	args.pidfd = uint64(uintptr(unsafe.Pointer(pidfd)))
	r, _, errno := syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, 0)
	if errno != 0 || r != 0 {
		return r, errno
	}
	machine.Loop(ops, count, registers, page)
	machine.Exit(failedStatus) // a plan that ends without execve or exit has failed, too
	return 0, 0
}
