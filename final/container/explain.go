package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage02-namespaces/launch"
)

// What a container's process did, step by step, after the fact. Who started it has
// that from the process (launch.Process.Times); the commands that come later have
// the plan and the report in the state folder.

// A Step is a step of a plan that was done.
type Step struct {
	Chapter      int     `json:"chapter"`
	Section      string  `json:"section"`
	Call         string  `json:"call"`            // in strace's notation
	Result       int64   `json:"result"`          // of the call, -1 after a failure
	Errno        string  `json:"errno,omitempty"` // why
	Microseconds float64 `json:"microseconds"`
}

// Steps are what a process did, with results and times.
func Steps(times []launch.Timing) []Step {
	var all []Step
	for _, t := range times {
		all = append(all, newStep(t.Step.Chapter, t.Step.Section, t.Step.String(), t.Result, t.Took))
	}
	return all
}

func newStep(chapter int, section, call string, result int64, took time.Duration) Step {
	s := Step{chapter, section, call, result, "", float64(took.Nanoseconds()) / 1000}
	if result < 0 {
		s.Result, s.Errno = -1, unix.ErrnoName(unix.Errno(-result))
	}
	return s
}

// Measure makes the process of a created container measure what it still has to do.
func (r *Runtime) Measure(id string) error {
	dir, _, err := r.find(id)
	if err != nil {
		return err
	}
	report, err := os.OpenFile(filepath.Join(dir, reportFile), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("measure the steps of container %q: %w", id, err)
	}
	return errors.Join(launch.MeasureFrom(report), report.Close())
}

// Steps are what the process of a container that Create made has done since its
// birth, or since Measure. The wait for start is not among them.
func (r *Runtime) Steps(id string) ([]Step, error) {
	dir, _, err := r.find(id)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, planFile))
	if err != nil {
		return nil, fmt.Errorf("read the plan of container %q: %w", id, err)
	}
	report, err := os.Open(filepath.Join(dir, reportFile))
	if err != nil {
		return nil, fmt.Errorf("read what container %q has done: %w", id, err)
	}
	defer report.Close()
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	last, marks, err := launch.ReadMarks(report, len(lines))
	if err != nil {
		return nil, err
	}
	var all []Step
	for i, line := range lines {
		if marks[i].Time == 0 {
			continue
		}
		took := time.Duration(marks[i].Time - last)
		if last == 0 {
			took = 0 // the step during which Measure was called
		}
		last = marks[i].Time
		if fields := strings.Split(line, "\t"); len(fields) == 4 {
			chapter, _ := strconv.Atoi(fields[2]) // writePlan wrote it
			all = append(all, newStep(chapter, fields[3], fields[1], marks[i].Result, took))
		}
	}
	return all, nil
}
