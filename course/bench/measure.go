package main

// This file measures one run of a program, in a process of its own: the peak
// memory that wait4(2) reports for a child is never less than what its parent
// had used when it forked, since the kernel counts the time before execve(2)
// as well. A fresh process has used little; the line "no container" of the
// table shows how little.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// measureCommand is the command by which this program calls itself.
const measureCommand = "measure"

// sample is what one run took. CPU and Peak are those of the runtime and of
// the children that it has waited for, the container's process among them
// (getrusage(2)).
type sample struct {
	Wall   time.Duration // from fork to the end
	CPU    time.Duration // user + system
	Peak   int64         // bytes: the largest resident set of a single process
	Status int           // exit status
}

// measure runs a program and writes the sample to w, as JSON. The program's
// output goes to our standard error.
func measure(w io.Writer, args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		return fmt.Errorf("measure %q: %w", args[0], err)
	}
	state := cmd.ProcessState
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("measure: the kernel reports no usage")
	}
	return json.NewEncoder(w).Encode(sample{
		Wall: wall, CPU: state.UserTime() + state.SystemTime(), Peak: usage.Maxrss << 10, Status: state.ExitCode(),
	})
}
