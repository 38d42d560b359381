package shortlived

// Taken is what init has taken: where it begins, how many bytes, whether the kernel has
// done it. This file imports nothing.
func Taken() (heap *[8192]byte, size int, ok bool) {
	return taken.heap, int(taken.size), taken.ok
}
