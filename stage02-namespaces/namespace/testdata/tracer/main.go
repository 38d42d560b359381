// Tracer tries to trace the processes whose numbers it is given, and says of
// each whether it may: ptrace(2), PTRACE_SEIZE.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // who traces is a thread
	for _, word := range os.Args[1:] {
		pid, err := strconv.Atoi(word)
		if err == nil {
			err = unix.PtraceSeize(pid)
		}
		fmt.Println(err)
	}
}
