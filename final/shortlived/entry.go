package shortlived

import (
	"unsafe"
)

// The program begins here and not in Go's runtime, if the linker is told so: -E in the
// file ldflags beside the program. What is set before Go's first instruction holds for
// all that Go does up to the first init, and nothing else can be:
//
// Go has a thread, sysmon, that sleeps for 20 µs, looks whether a goroutine waits
// in a system call that takes long, and sleeps again; after some idle rounds longer, up to 10 ms
// (runtime/proc.go). In the life of skiff-oci that is a hundred times, and each is two changes of
// context. A thread is created with the timer slack of the one that creates it, by which the kernel may let it
// sleep longer: PR_SET_TIMERSLACK(2const). So sysmon gets as much as it will grant itself in the end.
//
// Go reads which cgroup it is in, where that is mounted, and its limit of processors
// (internal/runtime/cgroup), to choose the number that init then sets. With no descriptor
// to be had, it does not: open(2), EMFILE.

// lateSlack is sysmon's timer slack, in nanoseconds: 10 ms.
//
//lint:ignore U1000 the entry uses it
const lateSlack = 10_000_000

// limits are what the entry changes, as the caller has them.
type limits struct {
	slack           int64  // nanoseconds, or a negative errno
	files, maxFiles uint64 // struct rlimit of RLIMIT_NOFILE: getrlimit(2)
}

// callers is what the entry found: nothing, if the program began in Go's runtime.
var callers limits

// threeFiles is the struct rlimit that leaves descriptors 0 to 2, which Go opens if they are
// closed (runtime/fds_unix.go). The entry adds the maximum.
//
//lint:ignore U1000 the entry uses it
var threeFiles = [2]uint64{3, 0}

// System calls and their arguments: prctl(2), prlimit(2).
const (
	setTimerSlack = 29 // PR_SET_TIMERSLACK
	getTimerSlack = 30 // PR_GET_TIMERSLACK
	noFile        = 7  // RLIMIT_NOFILE
)

// giveBack gives the thread that calls what the caller had.
func (l *limits) giveBack() {
	if l.slack > 0 {
		call(sysPrctl, setTimerSlack, uintptr(l.slack), 0, 0)
	}
	if l.maxFiles > 0 {
		call(sysPrlimit, 0, noFile, uintptr(unsafe.Pointer(&l.files)), 0)
	}
}

// TimerSlack is that of the caller, in nanoseconds. Threads of this program may have
// another one. It is 0 if none has.
func TimerSlack() uintptr { return uintptr(max(0, callers.slack)) }
