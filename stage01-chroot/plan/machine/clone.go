package machine

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// CloneArgs is struct clone_args of clone3(2), in its third version (88 bytes,
// Linux 5.7).
type CloneArgs struct {
	Flags, Pidfd, ChildTid, ParentTid, ExitSignal uint64
	Stack, StackSize, TLS                         uint64
	SetTid, SetTidSize, Cgroup                    uint64
}

// Clone is where one process becomes two: clone3(2). The child has this thread's
// stack and goes on right here, as the only thread of its process, with the program
// of ops; if that comes to an end without execve(2) or exit_group(2), the child ends
// with status failed. Clone returns in the parent only, with the child's pid; the
// kernel writes the descriptor of CLONE_PIDFD to pidfd.
//
// Safety: nosplit, so that the child does not try to grow the stack; norace,
// because the race detector is a runtime of its own; noinline, so that the
// pragmas hold. What it calls is nosplit too, and in this package. The address of
// pidfd is taken here and not before: pidfd may be on this stack, which cannot
// move from here on.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func Clone(args *CloneArgs, pidfd *int32, ops *Op, count int, registers *uintptr, page *Page, failed uintptr) (uintptr, syscall.Errno) {
	args.Pidfd = uint64(uintptr(unsafe.Pointer(pidfd)))
	pid := call(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, 0)
	if pid != 0 {
		return pid, errnoOf(pid)
	}
	Loop(ops, count, registers, page)
	Exit(failed)
	return 0, 0
}
