package shortlived

import "unsafe"

// The program begins with some instructions of ours and not with those of Go's runtime, if
// the linker is told so: -E in the file ldflags beside the program. The first init comes too
// late to keep Go's runtime from what it does before.
//
// It looks in which cgroup it is, where that is mounted, and how much of the processors it
// may have (internal/runtime/cgroup), to choose how many it uses, which init then sets. When
// there is no descriptor to be had (open(2), EMFILE) it gives up at the first of these files,
// and at the size of huge pages, which it would use for a heap that lives long.

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
