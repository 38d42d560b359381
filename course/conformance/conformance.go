// Package conformance runs the validation suite of the OCI's runtime-tools
// against a runtime and says, point by point, what it thinks of it.
//
// The suite is others' judgement: 58 programs, each of which makes a bundle,
// has a runtime run it, and prints what it found as TAP, the Test Anything
// Protocol (testanything.org). It is built from a Go module of fixed version
// (build.go). Each program has a small world of its own (world.go), so that
// many run at once and nothing of what they leave reaches the host.
//
// Not every point can be had: a machine lacks a controller, some programs are
// wrong, and a few ask for what no runtime does. Those are written down, each
// with the reason, in expected.txt (expected.go); whatever differs from that
// list, for better or worse, is a problem.
package conformance

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Options are how a run of the suite differs from another.
type Options struct {
	Programs []string      // which to run; none means all
	Jobs     int           // how many programs run at once; at least 1
	Timeout  time.Duration // how long one program may take
}

// Run runs programs of the suite against the runtime at that path and returns
// what became of each, in the order of the suite. It needs root. The error is
// for a suite that cannot be run, not for a runtime that fails it.
func (s *Suite) Run(ctx context.Context, runtime string, o Options) ([]Outcome, error) {
	programs := o.Programs
	if len(programs) == 0 {
		programs = s.Programs
	}
	runtime, err := filepath.Abs(runtime)
	if err != nil {
		return nil, err
	}
	outcomes, errs := make([]Outcome, len(programs)), make([]error, len(programs))
	turn := make(chan struct{}, max(o.Jobs, 1))
	var all sync.WaitGroup
	for i, program := range programs {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			outcomes[i], errs[i] = s.runOne(ctx, program, runtime, o.Timeout)
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", programs[i], err)
		}
	}
	return outcomes, ctx.Err()
}

// runOne runs one program in a world of its own.
func (s *Suite) runOne(ctx context.Context, program, runtime string, timeout time.Duration) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	ended, err := runInWorld(ctx, command{
		dir: s.Dir, program: filepath.Join(s.Dir, program),
		env: []string{"RUNTIME=" + runtime}, timeout: timeout,
	})
	if err != nil {
		return Outcome{}, err
	}
	return judge(program, ended), nil
}
