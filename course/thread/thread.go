// Package thread has threads of the operating system to spoil: one enters other
// namespaces, and is gone when that is over (namespaces(7): they belong to a thread).
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Run runs f on a thread that ends with it, together with what f has
// made of it: Go ends a thread whose goroutine has locked it and returns. The
// process's first thread it would keep, as it is; and that one's namespaces
// are what /proc shows of the process.
func Run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		Run(f) // this goroutine has the first thread, so another is next
		runtime.UnlockOSThread()
	}()
	<-done
}
