package conformance

// This file says what became of a program: its points, its complaints, how it
// ended and what was said on standard error, most of it by the runtime. What
// differs from run to run is replaced by fixed words.

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Verdict is a program's result in a word.
type Verdict string

const (
	Passed    Verdict = "ok"        // all points hold
	Silent    Verdict = "silent"    // it has no points: it would only have spoken of a fault
	Complains Verdict = "complains" // no point fails, but it reports a fault beside them
	Failed    Verdict = "not ok"    // a point fails
	Died      Verdict = "died"      // it did not come to its end
)

// Outcome is what became of a program.
type Outcome struct {
	Program    string
	Points     []Point
	Complaints []string
	Death      string   // "exit status 2", "killed after 1m0s"; empty when it came to its end
	Said       []string // lines on standard error, without what every failure says
	Took       time.Duration
}

// judge reads what a program left.
func judge(program string, e ended) Outcome {
	r := parseTAP(e.stdout)
	o := Outcome{
		Program: program, Points: r.points, Complaints: r.complaints,
		Death: e.death, Said: said(e.stderr), Took: e.took,
	}
	if n := len(o.Points); n > 0 && n == o.Skipped() { // nothing passes by being skipped
		o.Complaints = append(o.Complaints, "every point is skipped")
	}
	return o
}

// Verdict returns the worst that can be said of the outcome.
func (o Outcome) Verdict() Verdict {
	switch {
	case o.Death != "":
		return Died
	case len(o.failing()) > 0:
		return Failed
	case len(o.Complaints) > 0:
		return Complains
	case len(o.Points) == 0:
		return Silent
	}
	return Passed
}

// Skipped counts the points that the suite itself did not look at.
func (o Outcome) Skipped() int {
	n := 0
	for _, p := range o.Points {
		if p.Skipped {
			n++
		}
	}
	return n
}

// failing returns the points that do not hold.
func (o Outcome) failing() (failing []Point) {
	for _, p := range o.Points {
		if !p.OK {
			failing = append(failing, p)
		}
	}
	return failing
}

// Faults returns a line for each thing that is wrong: a failing point, a
// complaint, the death. Where there is no plain "ok", it also returns what was
// said, so that a program that wants a failure (process_rlimits_fail) shows
// that it had the right one.
func (o Outcome) Faults() []string {
	var faults []string
	for _, p := range o.failing() {
		faults = append(faults, fmt.Sprintf("not ok %d %s", p.Number, p.Text))
		for _, text := range p.Inside {
			faults = append(faults, fmt.Sprintf("inside %d %s", p.Number, text))
		}
	}
	for _, complaint := range o.Complaints {
		faults = append(faults, "complaint "+complaint)
	}
	if o.Death != "" {
		faults = append(faults, o.Death)
	}
	if o.Verdict() != Passed {
		for _, line := range o.Said {
			faults = append(faults, "said "+line)
		}
	}
	return faults
}

// What every failure says: the suite's own words around the runtime's, and a
// hint, which belongs to the line above it.
var (
	noise = regexp.MustCompile(`^(failed to (create|start) the container|exit status \d+|Refer to: .*|hint: .*|\s*)$`)
	trace = regexp.MustCompile(`(?s)\n\ngoroutine \d+ .*`) // of a program in Go that panics
)

// What differs from run to run, or with every step that a plan gains.
var variables = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`/\S*/ocitest\d+`), "BUNDLE"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(` \(step \d+ of \d+\)`), ""},
}

// said returns the lines on standard error that tell something, each once.
func said(stderr string) []string {
	stderr = trace.ReplaceAllString(stderr, "")
	for _, v := range variables {
		stderr = v.pattern.ReplaceAllString(stderr, v.replacement)
	}
	var lines []string
	seen := map[string]bool{}
	for line := range strings.Lines(stderr) {
		line = strings.TrimRight(line, "\n")
		if !noise.MatchString(line) && !seen[line] {
			lines, seen[line] = append(lines, line), true
		}
	}
	return lines
}
