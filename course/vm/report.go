package vm

// This file turns what a test program writes into a verdict like that of go
// test: of tests that failed, what they said. `go tool test2json` tells which
// test said what, also where tests run side by side.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// testEvent is a line of test2json; `go doc test2json` says more.
type testEvent struct{ Action, Test, Output string }

// verdict is what the tests of one package came to.
type verdict struct {
	passed, skipped int      // tests, without their subtests
	complaints      []string // what failed tests said, and the test program itself

	said   map[string]string // what each test has said, with its subtests, until it has ended
	alone  map[string]string // what each test or subtest has said itself
	failed bool
}

// judge reads what a test program said, in the form of -test.v=test2json, and
// its exit status.
func judge(ctx context.Context, output []byte, status int) (*verdict, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json")
	cmd.Stdin = bytes.NewReader(output)
	events, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool test2json: %w", err)
	}
	v := &verdict{failed: status != 0, said: map[string]string{}, alone: map[string]string{}}
	for decoder := json.NewDecoder(bytes.NewReader(events)); decoder.More(); {
		var e testEvent
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("go tool test2json: %w", err)
		}
		v.take(e)
	}
	for _, test := range slices.Sorted(maps.Keys(v.said)) {
		v.complain(v.said[test] + "--- " + test + " has no result: the program ended while it ran\n")
	}
	if status != 0 {
		v.complain(fmt.Sprintf("exit status %d\n", status))
	}
	return v, nil
}

// take follows one event.
func (v *verdict) take(e testEvent) {
	test, _, sub := strings.Cut(e.Test, "/")
	switch e.Action {
	case "output":
		if e.Test == "" {
			if e.Output != "PASS\n" && e.Output != "FAIL\n" {
				v.complain(e.Output)
			}
			return
		}
		if !strings.HasPrefix(e.Output, "=== ") { // RUN, PAUSE, CONT, NAME: where, not what
			v.alone[e.Test] += e.Output
			v.said[test] += e.Output
		}
	case "run":
		v.said[test] += ""
	case "skip":
		v.skip(e.Test)
	}
	if sub || e.Test == "" {
		return
	}
	switch e.Action {
	case "fail":
		v.complain(v.said[test])
	case "pass":
		v.passed++
	case "skip":
		v.skipped++
	default:
		return
	}
	delete(v.said, test)
}

var allowedSkip = regexp.MustCompile(allowedSkips)

// skip takes a skipped test, or subtest, for failed unless it says that it is
// about what the machine lacks on purpose.
func (v *verdict) skip(test string) {
	if test == "" || allowedSkip.MatchString(v.alone[test]) {
		return
	}
	v.failed = true
	v.complain(v.alone[test] + "a test must not be skipped here: suite.go says what may be missing\n")
}

func (v *verdict) complain(text string) { v.complaints = append(v.complaints, text) }

// write prints the verdict on a package as go test does.
func (v *verdict) write(w io.Writer, name string, seconds float64) {
	if !v.failed {
		skipped := ""
		if v.skipped > 0 {
			skipped = fmt.Sprintf(", %d for other machines", v.skipped)
		}
		fmt.Fprintf(w, "ok  \t%s\t%.3fs\t(%d tests%s)\n", name, seconds, v.passed, skipped)
		return
	}
	fmt.Fprintf(w, "%sFAIL\t%s\t%.3fs\n", strings.Join(v.complaints, ""), name, seconds)
}
