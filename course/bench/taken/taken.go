// Package taken measures what some commands take: time, processor time, and memory
// (getrusage(2)).
package taken

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

// Task are commands to measure.
type Task struct {
	Commands [][]string
	AtOnce   bool // all at the same time; otherwise one after another
}

// Sample is what a task took. CPU and Peak are those of the commands and of
// the children that they have waited for, the container's process among them
// (getrusage(2)).
type Sample struct {
	Wall   time.Duration // from the first fork to the last end
	CPU    time.Duration // user + system
	Peak   int64         // bytes: the largest resident set of a single process
	Status int           // the first exit status that is not 0
}

// Measure runs the commands of a task and writes the sample to w, as JSON. Their
// output goes to our standard error. The first that fails is the last.
//
// The peak memory that wait4(2) reports for a child is never less than what its parent
// had used when it forked, since the kernel counts the time before execve(2) as well.
// So the process that calls this should be a small one.
func Measure(w io.Writer, t Task) error {
	var s Sample
	var running []*exec.Cmd
	begin := time.Now()
	for _, args := range t.Commands {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("measure %q: %w", args[0], err)
		}
		running = append(running, cmd)
		if t.AtOnce {
			continue
		}
		if err := s.add(cmd); err != nil {
			return err
		}
		running = nil
		if s.Status != 0 {
			break
		}
	}
	for _, cmd := range running {
		if err := s.add(cmd); err != nil {
			return err
		}
	}
	s.Wall = time.Since(begin)
	return json.NewEncoder(w).Encode(s)
}

// add waits for a command and adds what it took.
func (s *Sample) add(cmd *exec.Cmd) error {
	err := cmd.Wait()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		return fmt.Errorf("measure %q: %w", cmd.Path, err)
	}
	state := cmd.ProcessState
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("measure: the kernel reports no usage")
	}
	s.CPU += state.UserTime() + state.SystemTime()
	s.Peak = max(s.Peak, usage.Maxrss<<10)
	if s.Status == 0 {
		s.Status = state.ExitCode()
	}
	return nil
}
