// Package machine is the loop that issues the system calls of a plan: the
// whole of what runs in a container's first process before its program.
//
// After clone(2) the child of a Go program is a single thread that holds a
// copy of the parent's memory but none of its other threads: no scheduler, no
// garbage collector, no timers. Anything of the Go runtime that needs one of
// these hangs or crashes there. So the parent prepares everything beforehand
// as plain machine words, and the child runs Loop, which allocates nothing,
// never grows its stack, takes no lock, and calls nothing outside this package. See
// "async-signal-safe" in fork(2) and signal-safety(7) for the same rule in C.
//
// It knows numbers only; names, flags and printing are the business of package
// plan, which turns arguments into words for it (plan/arg.go). Package unsafe is
// used in these two places, for the clone of chapter 2, and for the BPF programs
// of chapter 3; nowhere else.
package machine

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Op is one system call, ready to be issued.
type Op struct {
	Number uintptr    // the system call's number
	Args   [6]uintptr // its arguments: numbers, addresses or register indexes

	FromRegister uint8 // bit j is set: Args[j] is the index of a register
	Flow         Flow

	Into   int16 // the register for the result, or None
	When   int16 // skip unless this register holds a success, or None
	Unless int16 // skip unless this register holds a failure, or None
	Log    int16 // the register of an fsopen(2) context whose message explains a failure, or None

	Accept [3]syscall.Errno // failures that are fine
}

// None stands for "no register".
const None = -1

// Flow says what follows a call, other than the next call.
type Flow uint8

const (
	// Split marks a clone(2): the caller writes the new process's pid to the
	// page and exits, and the new process goes on with the next op.
	Split Flow = 1 << iota
	// NonZero makes a result of 0 a failure with ECANCELED. read(2) returns 0
	// when the other end of a pipe is gone.
	NonZero
	// Again repeats a call that fails with EAGAIN, a bounded number of times.
	// openat2(2) says so when somebody renames directories while it makes sure
	// that a path does not leave the root.
	Again
)

// maxAgain is how often a call with Again is made at most. Whoever renames
// without end can make each try fail, and must not keep us here for ever.
const maxAgain = 128

// MessageSize is how many bytes of the kernel's own message are kept.
const MessageSize = 256

// A Page is where the loop reports: memory that the parent shares with the
// child, so that nothing must be sent. Behind it in memory stands a Mark for each
// op, see Page.Mark.
type Page struct {
	// Step is the index of the op being done; -1 before the first one, and
	// their number when all are done.
	Step int64
	// Errno is why that op failed; 0 while all is well.
	Errno int64
	// Child is the pid of a Split, in the pid namespace of who cloned it.
	Child int64
	// Timed asks the loop to write Born and the times.
	Timed int64
	// Born is when the loop began: CLOCK_MONOTONIC nanoseconds.
	Born int64
	// Message is the kernel's own text about a failed mount, see Op.Log.
	Message [MessageSize]byte
}

// Where these fields are in a page, in bytes, for who has it as a file.
const (
	TimedAt = int64(unsafe.Offsetof(Page{}.Timed))
	BornAt  = int64(unsafe.Offsetof(Page{}.Born))
)

// A Mark is what Timed asks for about one op.
type Mark struct {
	Time   int64 // when it was done, in CLOCK_MONOTONIC nanoseconds; 0 if it was not
	Result int64 // what the call returned; after a failure the negative errno
}

// PageSize is the number of bytes of a Page for a program of n ops.
func PageSize(n int) int {
	return int(unsafe.Sizeof(Page{})) + n*int(unsafe.Sizeof(Mark{}))
}

// Mark is the mark of op number i.
//
// Safety: i is below the n with which the page was made. nosplit and the rest
// as for Loop.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *Page) Mark(i int) *Mark {
	return (*Mark)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(Page{})+uintptr(i)*unsafe.Sizeof(Mark{})))
}

// MapPage makes memory, of at least PageSize(n) bytes, a page. It must stay
// mapped for as long as the page is used.
func MapPage(memory []byte, n int) *Page {
	if len(memory) < PageSize(n) {
		panic("machine: memory is smaller than the page")
	}
	// Safety: the length was just checked; memory from mmap(2) is aligned.
	page := (*Page)(unsafe.Pointer(unsafe.SliceData(memory)))
	page.Step = -1
	return page
}

// NewPage makes a page in ordinary memory, for a program that runs in this
// very process.
func NewPage(n int) *Page {
	words := make([]int64, (PageSize(n)+7)/8)
	// Safety: words has the page's size, and its alignment.
	page := (*Page)(unsafe.Pointer(unsafe.SliceData(words)))
	page.Step = -1
	return page
}

// Report returns the step that was being done and its errno.
func (p *Page) Report() (step int, errno syscall.Errno) {
	return int(atomic.LoadInt64(&p.Step)), syscall.Errno(atomic.LoadInt64(&p.Errno))
}

// MaxOps is the longest program: far more than any container needs.
const MaxOps = 1 << 16

// Loop issues the ops one after another. It returns true when all are done,
// and false after the first failure, which Page then describes. When an op
// is a successful execve(2), it does not return.
//
// Safety: it must be nosplit (the child must not grow its stack), norace and
// nocheckptr (their hooks call into the runtime), and must only touch what
// the parent made. Registers and ops are addressed by pointer, because a
// bounds check would call the runtime's panic.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func Loop(ops *Op, count int, registers *uintptr, page *Page) bool {
	if page.Timed != 0 {
		now(&page.Born)
	}
	for i := 0; i < count; i++ {
		op := (*Op)(unsafe.Add(unsafe.Pointer(ops), uintptr(i)*unsafe.Sizeof(Op{})))
		page.Step = int64(i)
		if op.When != None && int(*register(registers, op.When)) < 0 ||
			op.Unless != None && int(*register(registers, op.Unless)) >= 0 {
			continue // its register keeps what it held
		}
		result := issue(op, registers)
		errno := errnoOf(result)
		for tries := 1; errno == unix.EAGAIN && op.Flow&Again != 0 && tries < maxAgain; tries++ {
			result = issue(op, registers)
			errno = errnoOf(result)
		}
		if page.Timed != 0 {
			mark := page.Mark(i)
			now(&mark.Time)
			mark.Result = int64(result)
		}
		if errno == 0 && result == 0 && op.Flow&NonZero != 0 {
			errno = unix.ECANCELED
		}
		if errno != 0 && errno != op.Accept[0] && errno != op.Accept[1] && errno != op.Accept[2] {
			explain(op, registers, page)
			page.Errno = int64(errno)
			return false
		}
		if op.Into != None {
			*register(registers, op.Into) = result // of a failure that is fine: the negative errno
		}
		if op.Flow&Split != 0 && int(result) > 0 {
			page.Child = int64(result)
			Exit(0)
		}
	}
	page.Step = int64(count)
	return true
}

// issue makes the call of op with its registers filled in.
//
// Safety: what the arguments point to is kept alive by Program.Memory.
//
//go:nosplit
//go:norace
//go:nocheckptr
func issue(op *Op, registers *uintptr) uintptr {
	return call(op.Number,
		argument(op, 0, registers), argument(op, 1, registers), argument(op, 2, registers),
		argument(op, 3, registers), argument(op, 4, registers), argument(op, 5, registers))
}

// argument is argument j of op.
//
// Safety: j is below 6, and as for register.
//
//go:nosplit
//go:norace
//go:nocheckptr
func argument(op *Op, j int, registers *uintptr) uintptr {
	if op.FromRegister&(1<<j) != 0 {
		return *register(registers, int16(op.Args[j]))
	}
	return op.Args[j]
}

// register returns the address of register i.
//
// Safety: package plan compiles only indexes that Program.Registers has.
//
//go:nosplit
//go:norace
//go:nocheckptr
func register(registers *uintptr, i int16) *uintptr {
	return (*uintptr)(unsafe.Add(unsafe.Pointer(registers), uintptr(i)*unsafe.Sizeof(uintptr(0))))
}

// explain copies what the kernel has to say about a failed mount: reading
// the descriptor of fsopen(2) returns its messages.
//
// Safety: the kernel writes at most the message's size.
//
//go:nosplit
//go:norace
//go:nocheckptr
func explain(op *Op, registers *uintptr, page *Page) {
	if op.Log == None {
		return
	}
	call(unix.SYS_READ, *register(registers, op.Log), uintptr(unsafe.Pointer(&page.Message)), MessageSize, 0, 0, 0)
}

// now writes the time of CLOCK_MONOTONIC to where, in nanoseconds. The vDSO
// would be faster, but finding it is the runtime's business.
//
// Safety: t is on the stack, which does not move in a nosplit function.
//
//go:nosplit
//go:norace
//go:nocheckptr
func now(where *int64) {
	var t unix.Timespec
	call(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&t)), 0, 0, 0, 0)
	*where = t.Sec*1e9 + t.Nsec
}

// Exit ends the process at once, without the runtime.
//
//go:nosplit
//go:norace
func Exit(code uintptr) {
	for {
		call(unix.SYS_EXIT_GROUP, code, 0, 0, 0, 0, 0)
	}
}
