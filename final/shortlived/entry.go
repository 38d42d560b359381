package shortlived

import "unsafe"

// The program begins here and not in Go's runtime, if the linker is told so: -E in the
// file ldflags beside the program. What is set before Go's first instruction holds for
// all that Go does up to the first init, and nothing else can be.
//
// Go looks in which cgroup it is, where that is mounted, and how much of the processors it
// may have (internal/runtime/cgroup), to choose how many it uses, which init then sets.
// With no descriptor to be had, it does not: open(2), EMFILE.

// limit is struct rlimit of getrlimit(2).
type limit struct{ soft, hard uint64 }

// callersFiles is the caller's RLIMIT_NOFILE, which the entry changes; zeroes, if the
// program began in Go's runtime.
var callersFiles limit

// threeFiles leaves descriptors 0 to 2, which Go opens if they are closed
// (runtime/fds_unix.go). The entry adds the hard limit.
//
//lint:ignore U1000 the entry uses it
var threeFiles = limit{soft: 3}

// noFile is RLIMIT_NOFILE: getrlimit(2).
const noFile = 7

// giveFilesBack undoes what the entry has done.
func giveFilesBack() {
	if callersFiles.hard > 0 {
		call(sysPrlimit, 0, noFile, uintptr(unsafe.Pointer(&callersFiles)), 0)
	}
}
