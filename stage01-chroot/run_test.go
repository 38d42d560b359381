package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestTheProgramSeesItsRootAndNothingAbove(t *testing.T) {
	testkit.HostUnchanged(t)
	seen := output(t, stage01(t, "run", probeRoot(t), "/probe", "cwd", "root", "ids", "environment"))
	testkit.Golden(t, withoutGroups(seen), "inside.golden")
}

// withoutGroups drops the supplementary groups, which are the caller's:
// chroot(2) changes nothing about them.
func withoutGroups(seen string) string {
	return regexp.MustCompile(`(?m)^group .*\n`).ReplaceAllString(seen, "")
}

func TestACommandIsLookedUpInTheNewRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	root := probeRoot(t)
	output(t, exec.Command("mkdir", "-p", root+"/usr/bin"))
	output(t, exec.Command("mv", root+"/probe", root+"/usr/bin/probe")) // the host has no such command
	got := output(t, stage01(t, "run", root, "probe", "arguments", "--", "-l", "--help"))
	want := "argument 0 \"probe\"\nargument 1 \"arguments\"\nargument 2 \"--\"\nargument 3 \"-l\"\nargument 4 \"--help\"\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTheStatusIsTheProgramsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	err := stage01(t, "run", probeRoot(t), "/probe", "no such section").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("got %v, want the exit status 2 of probe", err)
	}
}

func TestARootIsMadeFromProgramsOfTheHost(t *testing.T) {
	testkit.HostUnchanged(t)
	root := filepath.Join(t.TempDir(), "root")
	output(t, stage01(t, "root", root, "sh", "cat"))
	if got := output(t, stage01(t, "run", root, "sh", "-c", "echo $HOME | cat")); got != "/root\n" {
		t.Errorf("got %q", got)
	}
}

// The way out is real: it needs no help from outside, and ends in the host's
// root. A program that stays sees its own.
func TestTheEscapeLeavesTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	root, outside := probeRoot(t), t.TempDir()
	output(t, exec.Command("cp", testkit.Build(t, "."), root+"/stage01"))
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("the host's secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := output(t, stage01(t, "run", root, "/stage01", "escape", "/bin/cat", secret)); got != "the host's secret" {
		t.Errorf("got %q", got)
	}
}

// strace stands beside and writes down what the kernel was asked for: it is
// the plan, call by call.
func TestTheKernelSeesThePlan(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	root := probeRoot(t)
	trace := filepath.Join(t.TempDir(), "trace")
	output(t, exec.Command("strace", "-f", "-v", "-s", "4096", "-e", "trace=chroot,chdir,execve", "-o", trace,
		testkit.Build(t, "."), "run", root, "/probe", "cwd"))
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	seen := calls(string(text))
	testkit.Golden(t, strings.Join(seen, "\n")+"\n", "strace.golden")

	var planned []string
	for line := range strings.Lines(output(t, stage01(t, "plan", root, "/probe", "cwd"))) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			planned = append(planned, line+" = 0")
		}
	}
	if got, want := strings.Join(seen, "\n"), strings.Join(planned, "\n"); got != want {
		t.Errorf("the kernel saw\n%s\nthe plan was\n%s", got, want)
	}
}

// calls returns the calls of a trace but the first one, the execve(2) of
// stage01 itself. Each line begins with the id of a thread; an execve(2) that
// ends other threads is written in two parts, the end without the call.
func calls(trace string) []string {
	var calls []string
	line := regexp.MustCompile(`^\d+ +(\w+\(.*?)(?:\) += 0| <unfinished \.\.\.>| <pid changed to.*)$`)
	for text := range strings.Lines(trace) {
		if m := line.FindStringSubmatch(strings.TrimRight(text, "\n")); m != nil {
			calls = append(calls, m[1]+") = 0")
		}
	}
	return calls[1:]
}
