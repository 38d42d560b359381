package machine

import (
	"reflect"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Birth: clone3(2), where one process becomes two. The child gets the program, a stack
// to run it on, and not Go's heap: so it takes as long for a parent of a gigabyte as
// for a small one, the parent's pages are not shared until the child's execve(2), so
// that it need not copy each one that it writes to meanwhile, and what the parent knows
// stays with it (but for its global variables).

// CloneArgs is struct clone_args of clone3(2), in its third version (88 bytes,
// Linux 5.7).
type CloneArgs struct {
	Flags, Pidfd, ChildTid, ParentTid, ExitSignal uint64
	Stack, StackSize, TLS                         uint64
	SetTid, SetTidSize, Cgroup                    uint64
}

const (
	// stackSize is that of the child's stack, in bytes: the functions here are
	// nosplit, and the linker lets a chain of these have 800 bytes.
	stackSize = 8 << 10
	// tlsSize is that of the child's thread-local storage, of which Go's code
	// reads a word at some offset from the middle.
	tlsSize = 4 << 10
)

// newborn is what a child has of its own beside the program.
type newborn struct {
	stack [stackSize]byte
	top   childArgs
	tls   [tlsSize]byte
	args  CloneArgs
	pidfd int32
}

// newborn makes room for it, the first time.
func (p *Program) newborn() *newborn {
	if p.child == nil {
		p.child = (*newborn)(p.Memory.Take(int(unsafe.Sizeof(newborn{}))))
	}
	return p.child
}

// childArgs is what the child finds where its stack begins: its code, and what that
// works on.
type childArgs struct {
	code      uintptr
	ops       *Op
	count     int
	registers *uintptr
	page      *Page
	failed    uintptr
}

// Clone starts a child that runs the program; if that comes to an end without
// execve(2) or exit_group(2), the child ends with status failed. It returns in the
// parent only, with the child's pid and, since args ask for CLONE_PIDFD, a descriptor.
//
// args must ask for CLONE_SETTLS: Go's code reads a word there, and that of this thread
// may be in Go's heap.
//
// No second one may call it at the same time.
func Clone(args CloneArgs, program *Program, failed uintptr) (pid, pidfd int, errno syscall.Errno) {
	b := program.newborn()
	b.top = childArgs{reflect.ValueOf(child).Pointer(), &program.Ops[0], len(program.Ops), &program.Registers[0], program.Page, failed}
	// Safety: b lies in the program's memory, which does not move, and the child has it
	// as well.
	args.Stack, args.StackSize = uint64(uintptr(unsafe.Pointer(b))), uint64(unsafe.Offsetof(b.top))
	args.TLS = uint64(uintptr(unsafe.Pointer(&b.tls[tlsSize/2])))
	args.Pidfd = uint64(uintptr(unsafe.Pointer(&b.pidfd)))
	b.args = args
	adviseHeap(unix.MADV_DONTFORK, uintptr(unsafe.Pointer(b)))
	r := cloneUndisturbed(&b.args, unsafe.Sizeof(args))
	adviseHeap(unix.MADV_DOFORK, uintptr(unsafe.Pointer(b)))
	if errno := errnoOf(r); errno != 0 {
		return 0, -1, errno
	}
	return int(r), int(b.pidfd), 0
}

// TimerSlack, in nanoseconds, is what a thread of this program is given before it clones,
// since the child's timers are as late as its thread's: PR_SET_TIMERSLACK(2const). 0, as it
// is for a program whose threads are all alike, leaves it. It is a fact about the program
// that main may tell, before anything is cloned.
var TimerSlack uintptr

// SetTimerSlack gives it to the thread that calls: for who starts by other means a process
// that stays.
//
//go:nosplit
//go:norace
func SetTimerSlack() {
	if TimerSlack != 0 {
		call(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, TimerSlack, 0, 0, 0, 0)
	}
}

// cloneUndisturbed has all signals blocked meanwhile, because one that came between
// clone3 and execve would be handled by nobody: signal-safety(7). The parent's mask
// comes back here, the child's with a step of its plan (plan.SetSignalMask).
//
// A mask is a thread's, and Go moves a goroutine to another thread when it calls a
// function that is not nosplit, or with a signal (runtime/preempt.go): neither happens
// between the first call and the last. runtime.LockOSThread would do it as well, and start a thread for that.
//
//go:nosplit
//go:norace
func cloneUndisturbed(args *CloneArgs, size uintptr) uintptr {
	const maskSize = 8 // of the kernel's sigset_t, in bytes
	blocked, before := ^uint64(0), uint64(0)
	call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&blocked)), uintptr(unsafe.Pointer(&before)), maskSize, 0, 0)
	SetTimerSlack()
	r := cloneChild(args, size)
	call(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&before)), 0, maskSize, 0, 0)
	return r
}

// cloneChild is clone3(2). The child, on a stack of its own, calls childArgs.code with
// the address of childArgs.
//
//go:noescape
func cloneChild(args *CloneArgs, size uintptr) uintptr

// child is all that the child does.
//
// Safety: nosplit, so that it does not try to grow the stack; norace, because the
// race detector is a runtime of its own. What it calls is nosplit too, and in this
// package.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func child(a *childArgs) {
	Loop(a.ops, a.count, a.registers, a.page)
	Exit(a.failed)
}

// adviseHeap says whether Go's heap, and what this process was given, are for children
// as well: madvise(2). Go takes memory in arenas of 64 MiB, one behind the other
// (runtime/malloc.go), and begins somewhere in the first. One that is missed is copied,
// which is slower; the program's own memory, which kept is a part of, must not be among
// them.
func adviseHeap(advice, kept uintptr) {
	const arena = 64 << 20
	here := uintptr(unsafe.Pointer(new([64]byte))) &^ (arena - 1)
	if given := given(); given.Size > 0 {
		call(unix.SYS_MADVISE, given.Start, given.Size, advice, 0, 0, 0)
	}
	for _, step := range []uintptr{arena, ^uintptr(arena - 1)} {
		// ENOMEM: a part of it, or all, is not mapped. What is has been advised about.
		for at, missing := here, 0; missing < 2 && kept&^(arena-1) != at; at += step {
			if call(unix.SYS_MADVISE, at, arena, advice, 0, 0, 0) != 0 {
				missing++
			}
		}
	}
}
