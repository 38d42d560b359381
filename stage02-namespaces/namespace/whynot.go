package namespace

import (
	"golang.org/x/sys/unix"

	"skiff.example/stage02-namespaces/namespace/whynot"
)

// Why the machine gives no namespace: for those who import this package. What
// looks is in package whynot, which launch can import, too.

// WhyNot is the hint for a clone3(2) or unshare(2) with these flags (CLONE_NEW*)
// that failed with errno, or "" when nothing is to be seen.
func WhyNot(flags int, errno unix.Errno) string { return whynot.Namespaces(flags, errno) }
