package launch_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/launch/launchtest"
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
	c := launchtest.Compare(t, p, launchtest.Container(t, traces))
	// Only if these have happened, the test has seen what it is for.
	for _, name := range []string{"ENOENT", "EEXIST", "ENOTDIR"} {
		if !slices.Contains(c.Accepted, name) {
			t.Errorf("%s never happened", name)
		}
	}
	if c.Skipped == 0 {
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
	return launchtest.Strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")
}

// birthIn returns the call by which the container's process was born, without
// the addresses and results that no plan can know.
func birthIn(t *testing.T, traces []string) string {
	t.Helper()
	for _, text := range traces {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "clone3({flags=CLONE_PIDFD|CLONE_NEWNS") {
				line, _, _ = strings.Cut(line, " = ")
				line = regexp.MustCompile(`, (pidfd|stack_size)=0x\w+| => \{.*?\}`).ReplaceAllString(line, "")
				return regexp.MustCompile(`(stack|tls)=0x\w+`).ReplaceAllString(line, "$1=child_$1")
			}
		}
	}
	t.Fatal("strace saw no clone3")
	return ""
}
