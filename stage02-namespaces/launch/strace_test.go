package launch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// What strace saw of the child is what the plan says, call by call: no call
// that is not printed, none left out that is not printed as left out.
func TestAFullRunUnderStraceIsThePrintedPlan(t *testing.T) {
	if root := os.Getenv("RUN_FULL_PLAN"); root != "" {
		runFullPlan(t, root)
		return
	}
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	root := fullRoot(t)
	p := fullPlan(t, root, newGate(t), openNull(t))
	traces := traceOfRun(t, root)
	if want, got := (launch.Options{Namespaces: fullNamespaces}).Birth(), birthIn(t, traces); got != want {
		t.Errorf("born by %s, printed is %s", got, want)
	}
	c := &comparison{values: map[string]int{}, lines: containerIn(t, traces)}
	for i, s := range p.Steps() {
		if !c.step(t, s) {
			t.Fatalf("step %d of %d differs", i+1, p.Len())
		}
	}
	// Only if these have happened, the test has seen what it is for.
	for _, name := range []string{"ENOENT", "EEXIST", "ENOTDIR"} {
		if !slices.Contains(c.accepted, name) {
			t.Errorf("%s never happened", name)
		}
	}
	if c.skipped == 0 {
		t.Error("no step was left out")
	}
}

// runFullPlan is what runs under strace.
func runFullPlan(t *testing.T, root string) {
	gate := newGate(t)
	if err := gate.Open(); err != nil {
		t.Fatal(err)
	}
	output(t, launch.Options{Namespaces: fullNamespaces}, func(out *os.File) *plan.Plan {
		return fullPlan(t, root, gate, out)
	})
}

// traceOfRun runs this test under strace.
func traceOfRun(t *testing.T, root string) []string {
	t.Helper()
	t.Setenv("RUN_FULL_PLAN", root)
	return strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")
}

// birthIn returns the call by which the container's process was born, without
// the addresses and results that no plan can know.
func birthIn(t *testing.T, traces []string) string {
	t.Helper()
	for _, text := range traces {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "clone3({flags=CLONE_PIDFD|CLONE_NEW") {
				line, _, _ = strings.Cut(line, " = ")
				return regexp.MustCompile(`, (pidfd=0x\w+|stack=NULL|stack_size=0)| => \{.*?\}`).ReplaceAllString(line, "")
			}
		}
	}
	t.Fatal("strace saw no clone3")
	return ""
}

// strace runs a program under strace, with this input, and returns the trace
// of each of its threads and children (-ff writes a file for each).
func strace(t *testing.T, input string, command ...string) []string {
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

// containerIn returns the lines of the one process that pivots its root.
func containerIn(t *testing.T, traces []string) []string {
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

// A comparison goes through plan and trace together.
type comparison struct {
	lines    []string       // of the trace, those still to come
	values   map[string]int // of registers and named descriptors, as the trace showed them
	accepted []string       // the errnos that happened and were fine
	skipped  int
}

var (
	notesPattern  = regexp.MustCompile(`(?: = (\w+))?(?:  /\* (.*) \*/)?$`)
	resultPattern = regexp.MustCompile(`^\s+= (-?\d+)(?: (E\w+) \(.*\))?$`)
)

// step compares a step with the next line, or makes sure that the plan says
// that it is left out.
func (c *comparison) step(t *testing.T, s plan.Step) bool {
	t.Helper()
	parts := notesPattern.FindStringSubmatch(s.String())
	into, notes := parts[1], strings.Split(parts[2], "; ")
	if c.leftOut(notes) {
		c.skipped++
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
	c.accepted = append(c.accepted, result[2])
	fine := notes[len(notes)-1]
	if !strings.HasSuffix(fine, " is fine") || !strings.Contains(fine, result[2]) {
		t.Errorf("printed: %s\nstrace:  %s, and that is not fine", s, line)
		return false
	}
	return true
}

// leftOut reads the notes that a plan prints: "if a", "if not b".
func (c *comparison) leftOut(notes []string) bool {
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
func (c *comparison) match(s plan.Step, line string) (rest string, ok bool) {
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
