package testkit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Command lines as a reader would type them, and what they print: execve(2),
// wait(2).

// Command is the program of the test's own folder with these arguments, not
// started yet. What other programs say, they say in English.
func Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Build(t, "."), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

// Output runs cmd, which must succeed, and returns what it prints, to both
// standard output and standard error.
func Output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	return string(out)
}

// Mistake runs cmd, a command line of the program called name that must fail
// with status 1 and print nothing but its error, and returns the line and what
// it said.
func Mistake(t testing.TB, name string, cmd *exec.Cmd) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if status := cmd.ProcessState.ExitCode(); status != 1 || out.Len() > 0 {
		t.Errorf("%q: %v, status %d, output %q; want status 1 and no output", cmd.Args[1:], err, status, &out)
	}
	return fmt.Sprintf("$ %s %s\n%s", name, strings.Join(cmd.Args[1:], " "), &errs)
}

// WithoutHostname replaces the host's name where it is all of a line that a
// demonstration shows.
func WithoutHostname(t testing.TB, s string) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^  `+regexp.QuoteMeta(name)+`$`).ReplaceAllString(s, "  HOSTNAME")
}
