package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
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

// Busybox knows nothing of us, and needs no libraries.
func TestWhatBusyboxSees(t *testing.T) {
	testkit.HostUnchanged(t)
	const look = `pwd; ls -a /; id -u; echo "$HOME"; cd ..; pwd; test / -ef /.. && echo "above / is /"`
	testkit.Golden(t, output(t, stage01(t, "run", busyboxRoot(t), "/bin/busybox", "sh", "-c", look)), "busybox.golden")
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

// What is open when we are called is not open in the program: CVE-2024-21626.
// The probe needs a /proc to see it.
func TestDescriptorsDoNotLeak(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := stage01(t, "run", "--proc", probeRoot(t), "/probe", "descriptors")
	for range 2 {
		dir, err := os.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, dir)
	}
	seen := output(t, cmd)
	if lines := regexp.MustCompile(`(?m)^descriptor (\d+)`).FindAllString(seen, -1); strings.Join(lines, ",") != "descriptor 0,descriptor 1,descriptor 2" {
		t.Errorf("open inside:\n%s", seen)
	}
}

// The signals that end a program end this one too: run has become it.
func TestASignalEndsTheProgram(t *testing.T) {
	testkit.HostUnchanged(t)
	cmd := stage01(t, "run", busyboxRoot(t), "/bin/busybox", "sh", "-c", "kill -INT $$")
	err := cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want SIGINT", err)
	}
}

// strace stands beside and writes down what the kernel was asked for: it is
// the plan, call by call.
func TestTheKernelSeesThePlan(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	defer syscall.Umask(syscall.Umask(0o022)) // umask(2) returns it
	for golden, flags := range map[string][]string{
		"strace.golden":             nil,
		"strace-kernelfiles.golden": {"--dev", "--proc", "--sys"},
	} {
		testkit.Golden(t, asPlanned(t, append(flags, probeRoot(t), "/probe", "cwd")...), golden)
	}
}

// The words are those of the command line: a root may be named from the
// current directory, a command by its name alone.
func TestTheKernelSeesThePlanOfShortNames(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "strace")
	root := probeRoot(t)
	output(t, exec.Command("mkdir", root+"/bin"))
	output(t, exec.Command("mv", root+"/probe", root+"/bin/probe"))
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = filepath.Rel(here, root); err != nil {
		t.Fatal(err)
	}
	seen := asPlanned(t, root, "probe", "cwd")
	for _, want := range []string{fmt.Sprintf("chroot(%q) = 0\n", root), `execve("/bin/probe", ["probe", "cwd"]`} {
		if !strings.Contains(seen, want) {
			t.Errorf("the kernel saw\n%swant %s", seen, want)
		}
	}
}

// asPlanned runs what args say under strace, and returns what the kernel was
// asked for. It must be what plan prints.
func asPlanned(t *testing.T, args ...string) string {
	t.Helper()
	planned := output(t, stage01(t, append([]string{"plan"}, args...)...))
	return traced(t, planned, "chroot(", append([]string{"run"}, args...)...)
}

// traced runs stage01 under strace and returns what the kernel was asked for
// from the first call on that begins with first. It must be what was planned.
func traced(t *testing.T, planned, first string, args ...string) string {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	const traced = "trace=chroot,chdir,fchdir,openat2,mkdirat,mknodat,mount,umask,close_range,execve"
	output(t, exec.Command("strace", append([]string{"-f", "-v", "-s", "4096", "-e", traced, "-o", trace, testkit.Build(t, ".")}, args...)...))
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	seen := calls(string(text))
	seen = seen[max(0, slices.IndexFunc(seen, func(call string) bool { return strings.HasPrefix(call, first) })):]
	want := expected(planned, seen)
	if strings.Join(seen, "\n") != strings.Join(want, "\n") {
		t.Errorf("the kernel saw\n%s\nthe plan was\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	return strings.Join(seen, "\n") + "\n"
}

// calls returns the calls of a trace. Each line begins with the id of a
// thread; an execve(2) that ends other threads is written in two parts, the
// end without the call.
func calls(trace string) []string {
	var calls []string
	line := regexp.MustCompile(`^\d+ +(\w+\(.*?)(?:\) += (\w+)| <unfinished \.\.\.>| <pid changed to.*)$`)
	for text := range strings.Lines(trace) {
		if m := line.FindStringSubmatch(strings.TrimRight(text, "\n")); m != nil {
			if m[2] == "" {
				m[2] = "0"
			}
			call := m[1] + ") = " + m[2]
			// One by another thread than the first is written twice: as not
			// finished, and as what makes that thread the first.
			if strings.HasPrefix(call, "execve(") && len(calls) > 0 && calls[len(calls)-1] == call {
				continue
			}
			calls = append(calls, call)
		}
	}
	return calls
}

// expected turns a printed plan into what strace should show. A register is a
// name in a plan and a number in a trace: which one, the trace tells. What
// umask(2) returns is the old mask.
func expected(planned string, seen []string) []string {
	var want []string
	comment := regexp.MustCompile(`  /\*.*\*/$`)
	register := regexp.MustCompile(`^(.*\)) = (\w+)$`)
	result := regexp.MustCompile(` = (\w+)$`)
	names := map[string]string{}
	for line := range strings.Lines(planned) {
		line = comment.ReplaceAllString(strings.TrimSpace(line), "")
		if line == "" || line[0] == '#' {
			continue
		}
		m := register.FindStringSubmatch(line)
		number := "0"
		if n := len(want); n < len(seen) && (m != nil || strings.HasPrefix(line, "umask(")) {
			number = result.FindStringSubmatch(seen[n])[1]
		}
		if m != nil {
			names["("+m[2]+")"], line = "("+number+")", m[1]
		}
		for name, number := range names {
			line = strings.ReplaceAll(line, name, number)
		}
		want = append(want, line+" = "+number)
	}
	return want
}
