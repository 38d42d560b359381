// Package shortlived makes Go's runtime suit a program that lives for some milliseconds:
// few processors, and the memory that the program will need, in one piece.
//
// Whenever a goroutine can run, Go wakes or makes a thread of the operating system for it,
// as long as a processor of Go's is idle, and each processor has memory of its own to
// allocate from. A runtime waits for the kernel, and its second goroutine for the first.
// One that does want more says so (runtime.GOMAXPROCS).
//
// A page of memory comes when it is touched for the first time: the processor stops, the
// kernel finds a page (perf stat -e page-faults counts them). Many are Go's heap, since
// Go's allocator begins with a page or two for each size of object. And the main goroutine
// starts with 2 KiB of stack (runtime/stack.go); each time that this is too little, Go's
// runtime looks up all frames in tables that lie on pages of their own (copystack).
//
// Other packages touch memory when they are initialised (GODEBUG=inittrace=1). So this one
// is initialised before them: of the packages whose imports are ready Go takes the one whose
// path sorts first (The Go Programming Language Specification, "Program initialization",
// and the release notes of Go 1.21), and this one imports only runtime. That is before package
// sync, and so before all that stand on it. For the same reason it has a system call of
// its own.
//
// A program uses the package by importing it. One that lives longer should not.
package shortlived

import (
	"runtime"
	"unsafe"
)

// heapSize is how much of the heap is taken, in bytes. With less, skiff-oci takes longer;
// with more, its peak of memory grows: make bench prints both.
const heapSize = 384 << 10

// chunkSize is how much memory Go's runtime maps for its heap at once, in bytes, from
// an address that is a multiple of it: runtime/mheap.go, grow.
const chunkSize = 4 << 20

// processors is how many of Go's there are. While one is idle, a goroutine that waits in a
// system call keeps the one it has for 10 ms (retake in runtime/proc.go). With only one, Go
// would take that away at once, and wake sysmon when the call is over.
const processors = 2

// populateWrite is MADV_POPULATE_WRITE, since Linux 5.14: madvise(2).
const populateWrite = 23

// taken is that memory, and whether the kernel has done it: for the test.
var taken struct {
	heap *[8192]byte // where it begins: objects of this size lie on pages of their own
	size uintptr     // bytes
	ok   bool
}

func init() {
	giveFilesBack()
	growStack()
	runtime.GOMAXPROCS(processors)
	// What lies above a new object has not been used: Go's allocator goes upwards, from an
	// address that chance chooses. An older kernel refuses: then the pages come one by one.
	taken.heap = new([8192]byte)
	start := uintptr(unsafe.Pointer(taken.heap))
	taken.size = min(heapSize, chunkSize-start%chunkSize)
	taken.ok = call(sysMadvise, start, taken.size, populateWrite, 0) == 0
	delaySysmon()
}

// growStack needs so much stack that the goroutine gets 64 KiB, more than any command
// needs. It touches none of it.
func growStack()

// call makes a system call. It returns the kernel's result: an error is a negative number.
func call(number, a0, a1, a2, a3 uintptr) int
