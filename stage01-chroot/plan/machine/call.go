package machine

import "syscall"

// The system call itself. Go has one as well (syscall.RawSyscall6), but it lies
// somewhere in the program; all that the child of a clone runs shall lie together,
// so that it can let go of the rest: see self.go.

// call makes a system call and returns what the kernel does: a result, or a
// negative errno.
//
//go:noescape
func call(number, a0, a1, a2, a3, a4, a5 uintptr) uintptr

// maxErrno is the greatest errno: MAX_ERRNO in the kernel's include/linux/err.h. A
// result is no pointer into the last page, so that the two can be told apart.
const maxErrno = 4095

// errnoOf is the errno in what call returned, or 0.
//
//go:nosplit
//go:norace
func errnoOf(result uintptr) syscall.Errno {
	if result > ^uintptr(maxErrno) {
		return syscall.Errno(-result)
	}
	return 0
}
