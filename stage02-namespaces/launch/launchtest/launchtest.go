// Package launchtest compares what a process did with its plan: the calls that
// strace(1) saw with those that the plan prints, one by one. It is for the tests of
// whoever makes plans.
package launchtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
)

// Strace runs a program under strace, with this input, and returns the trace
// of each of its threads and children (-ff writes a file for each).
func Strace(t *testing.T, input string, command ...string) []string {
	t.Helper()
	trace := t.TempDir()
	cmd := exec.Command("strace", append([]string{"-ff", "-v", "-s", "4096", "-o", trace + "/process"}, command...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(trace + "/process.*")
	if err != nil {
		t.Fatal(err)
	}
	var traces []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		traces = append(traces, knownGaps.Replace(string(text)))
	}
	return traces
}

// Container returns the lines of the one process that pivots its root.
func Container(t *testing.T, traces []string) []string {
	t.Helper()
	for _, text := range traces {
		if strings.Contains(text, "\npivot_root(") {
			return strings.Split(text, "\n")
		}
	}
	t.Fatal("strace saw no pivot_root")
	return nil
}

// knownGaps is where strace 6.1 says less than it could; see the test of the
// same name in package plan.
var knownGaps = strings.NewReplacer(
	" /* MS_??? */", "",
	"MOUNT_ATTR_NOATIME|MOUNT_ATTR_STRICTATIME|0x40", "MOUNT_ATTR__ATIME",
)

// A Comparison is what was seen on the way through a plan and a trace together.
type Comparison struct {
	Accepted []string // the errnos that happened and were fine
	Skipped  int      // steps that were left out, as the plan says

	lines  []string       // of the trace, those still to come
	values map[string]int // of registers and named descriptors, as the trace showed them
}

// Compare makes sure that the lines of a trace are the plan's steps, in order, and
// that what is missing is what the plan says may be left out. What comes after the
// plan is the program's.
func Compare(t *testing.T, p *plan.Plan, lines []string) Comparison {
	t.Helper()
	c := Comparison{values: map[string]int{}, lines: lines}
	for i, s := range p.Steps() {
		if !c.step(t, s) {
			t.Fatalf("step %d of %d differs", i+1, p.Len())
		}
	}
	return c
}

var (
	notesPattern  = regexp.MustCompile(`(?: = (\w+))?(?:  /\* (.*) \*/)?$`)
	resultPattern = regexp.MustCompile(`^\s+= (-?\d+)(?: (E\w+) \(.*\))?$`)
)

// step compares a step with the next line, or makes sure that the plan says
// that it is left out.
func (c *Comparison) step(t *testing.T, s plan.Step) bool {
	t.Helper()
	parts := notesPattern.FindStringSubmatch(s.String())
	into, notes := parts[1], strings.Split(parts[2], "; ")
	if c.leftOut(notes) {
		c.Skipped++
		return true
	}
	if len(c.lines) == 0 {
		t.Errorf("the trace ends before: %s", s)
		return false
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	rest, ok := c.match(s, line)
	result := resultPattern.FindStringSubmatch(rest)
	if !ok || result == nil {
		t.Errorf("printed: %s\nstrace:  %s\nknown:   %v", s, line, c.values)
		return false
	}
	value, err := strconv.Atoi(result[1])
	if err != nil {
		t.Fatal(err)
	}
	if into != "" {
		c.values[into] = value
	}
	if value >= 0 {
		return true
	}
	c.Accepted = append(c.Accepted, result[2])
	fine := notes[len(notes)-1]
	if !strings.HasSuffix(fine, " is fine") || !strings.Contains(fine, result[2]) {
		t.Errorf("printed: %s\nstrace:  %s, and that is not fine", s, line)
		return false
	}
	return true
}

// leftOut reads the notes that a plan prints: "if a", "if not b".
func (c *Comparison) leftOut(notes []string) bool {
	for _, note := range notes {
		name, when := strings.CutPrefix(note, "if ")
		if !when {
			continue
		}
		name, not := strings.CutPrefix(name, "not ")
		value, written := c.values[name]
		success := written && value >= 0
		if success == not {
			return true
		}
	}
	return false
}

// match compares the call with the beginning of the line and returns the rest
// of it. A name that has no number yet (a descriptor that the parent opened)
// gets the one that the trace shows.
func (c *Comparison) match(s plan.Step, line string) (rest string, ok bool) {
	const unknown = "\x00"
	var names []string
	text := s.Text(func(name string) string {
		if value, ok := c.values[name]; ok {
			return strconv.Itoa(value)
		}
		names = append(names, name)
		return unknown
	})
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(text), unknown, `(\d+)`)
	found := regexp.MustCompile(pattern).FindStringSubmatch(line)
	if found == nil {
		return "", false
	}
	for i, name := range names {
		c.values[name], _ = strconv.Atoi(found[i+1])
	}
	return line[len(found[0]):], true
}
