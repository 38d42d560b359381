package launch_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch/launchtest"
)

// What makes the comparison with C a fair one: strace(1) sees both make the
// same calls.
//
// The clone and everything between it and the end of execve(2) must be equal,
// call by call, arguments and results included. Not compared is the rest of
// the parents, where skiff does more: it maps and unmaps the page in which the
// child reports, makes and closes the pipe that tells when the plan is over,
// and blocks and unblocks signals; and its runtime does what a runtime does.

func TestTheContainerInCMakesTheSameCalls(t *testing.T) {
	if root := os.Getenv("RUN_FULL_PLAN"); root != "" {
		runFullPlan(t, root)
		return
	}
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	rootOfC, rootOfSkiff := rootOfTrue(t), rootOfTrue(t)
	c := launchtest.Strace(t, "\n", containerInC(t, 1, fullNamespaces, rootOfC).Args...)
	t.Setenv("RUN_FULL_PLAN", rootOfSkiff)
	skiff := launchtest.Strace(t, "", os.Args[0], "-test.run=^"+t.Name()+"$")

	equalCalls(t, cloneIn(t, skiff), cloneIn(t, c))
	equalCalls(t, untilExecve(t, skiff, rootOfSkiff), untilExecve(t, c, rootOfC))
}

// equalCalls reports the first difference.
func equalCalls(t *testing.T, skiff, c []string) {
	t.Helper()
	for i := range max(len(skiff), len(c)) {
		if i >= len(skiff) || i >= len(c) || skiff[i] != c[i] {
			t.Errorf("call %d of %d (skiff) and %d (C) differs: testdata/container.c must do what the full plan does\nskiff: %q\nC:     %q",
				i+1, len(skiff), len(c), skiff[min(i, len(skiff)):min(i+1, len(skiff))], c[min(i, len(c)):min(i+1, len(c))])
			return
		}
	}
}

// cloneIn returns the call that made the container's process.
func cloneIn(t *testing.T, traces []string) []string {
	t.Helper()
	for _, line := range strings.Split(strings.Join(traces, "\n"), "\n") {
		if strings.HasPrefix(line, "clone3(") && strings.Contains(line, "CLONE_NEWNS") {
			return []string{withoutNumbers(line)}
		}
	}
	t.Fatal("strace saw no clone3 with CLONE_NEWNS")
	return nil
}

// untilExecve returns what the container's process did before its program.
func untilExecve(t *testing.T, traces []string, root string) []string {
	t.Helper()
	lines := launchtest.Container(t, traces)
	end := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "execve(") })
	if end < 0 {
		t.Fatal("strace saw no execve")
	}
	var calls []string
	for _, line := range lines[:end+1] {
		calls = append(calls, withoutNumbers(strings.ReplaceAll(line, root, "ROOT")))
	}
	return calls
}

// numbers are what differs from process to process: addresses, descriptors,
// the results that are descriptors, and the blanks that strace aligns with.
var numbers = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`, (stack|stack_size|tls)=\w+|\|CLONE_SETTLS`), ""}, // the child's memory: in C it is the parent's, copied
	{regexp.MustCompile(`\) += `), ") = "},
	{regexp.MustCompile(`\) = [1-9]\d*$`), ") = NUMBER"},
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "ADDRESS"},
	{regexp.MustCompile(`=> \{.*\}`), "=> {PIDFD}"}, // what clone3 returns beside the pid
	{regexp.MustCompile(`^(close|read|dup3|ioctl|fchdir|openat2|mkdirat|mknodat|fs\w+|open_tree|move_mount|mount_setattr)\(\d+`), "$1(FD"},
	{regexp.MustCompile(`, \d+, "`), `, FD, "`},
}

func withoutNumbers(line string) string {
	for _, n := range numbers {
		line = n.pattern.ReplaceAllString(line, n.with)
	}
	return line
}
