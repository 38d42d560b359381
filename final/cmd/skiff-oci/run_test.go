package main_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// The bundle of `runc spec`, without a single change: it wants a terminal, and
// here the caller has only a pipe.
func TestTheBundleOfRuncSpecRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	cmd := b.command("run", "--bundle", b.dir, "box")
	cmd.Stdin = strings.NewReader("echo the answer is $((6 * 7)) on $(tty)\nexit 7\n")
	got := b.finish(cmd)
	if got.status != 7 || got.err != "" {
		t.Errorf("status %d, want 7: %s", got.status, got.err)
	}
	if !strings.Contains(got.out, "the answer is 42 on /dev/pts/0\r\n") {
		t.Errorf("the terminal showed %q", got.out)
	}
	b.wantNothing()
}

func TestTheEndOfInputReachesTheProgram(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	cmd := b.command("run", "--bundle", b.dir, "box")
	cmd.Stdin = strings.NewReader("false\n")
	if got := b.finish(cmd); got.status != 1 && got.status != 127 {
		t.Errorf("a shell without more input ends as its last command; got %d: %s%s", got.status, got.out, got.err)
	}
}

// fromHost are the lines of the report in which one machine differs from
// another: where its cgroups are, which of the masked files its kernel has,
// and the limits that the configuration does not set.
var fromHost = regexp.MustCompile(`(?m)^(mount /sys/\S+|mount /proc/\S+|rlimit [a-mo-z]\S*|rlimit nice|rlimit nproc) .*\n`)

// rootType is the type of the file system that has the test's folder.
var rootType = regexp.MustCompile(`(?m)^mount / \S+`)

func TestWhatTheProgramSees(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("/probe", "hostname", "process", "ids", "namespaces", "cwd", "root", "mounts", "processes",
		"network", "capabilities", "security", "rlimits", "descriptors", "umask", "environment", "arguments"))
	b.addProbe()
	got := b.do("run", "--bundle", b.dir, "box")
	if got.status != 0 || got.err != "" {
		t.Fatalf("status %d: %s", got.status, got.err)
	}
	common := rootType.ReplaceAllString(fromHost.ReplaceAllString(got.out, ""), "mount / TYPE")
	testkit.Golden(t, common, "inside.golden")
}

// addProbe puts the program that looks from inside into the root.
func (b *bundle) addProbe() {
	b.Helper()
	text, err := os.ReadFile(testkit.Probe(b))
	b.must(err)
	b.must(os.WriteFile(b.path("probe"), text, 0o755))
}

func TestTheExitStatusIsPassedOn(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	for script, want := range map[string]int{
		"exit 0": 0, "exit 42": 42, "exit 255": 255,
		"exec 2>/dev/null; sh -c 'kill -9 $$'; exit $?": 137, // what a shell makes of its child's end
	} {
		b.edit(program("sh", "-c", script))
		if got := b.do("run", "--bundle", b.dir, "box"); got.status != want || got.out+got.err != "" {
			t.Errorf("%s: status %d, want %d: %s%s", script, got.status, want, got.out, got.err)
		}
	}
	b.wantNothing()
}

func TestDescriptorsAreInheritedOnlyOnDemand(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("/bin/sh", "-c", "cat <&3"))
	file := t.TempDir() + "/three"
	b.must(os.WriteFile(file, []byte("from descriptor 3"), 0o600))
	for option, want := range map[string]string{"--preserve-fds=1": "from descriptor 3", "--preserve-fds=0": ""} {
		three, err := os.Open(file)
		b.must(err)
		cmd := b.command("run", option, "--bundle", b.dir, "box")
		cmd.ExtraFiles = []*os.File{three}
		if got := b.finish(cmd); got.out != want {
			t.Errorf("%s: got %q, want %q: %s", option, got.out, want, got.err)
		}
		b.must(three.Close())
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		t.Run(s.String(), func(t *testing.T) {
			testkit.HostUnchanged(t)
			number := strconv.Itoa(int(s))
			b := newBundle(t, program("sh", "-c", "trap 'echo caught; exit 9' "+number+"; echo ready; while :; do sleep 0.01; done"))
			r := b.start("ready", "run", "--bundle", b.dir, "box")
			r.signal(s)
			if status, said := r.end(); status != 9 || !strings.Contains(said, "caught") {
				t.Errorf("status %d, want 9: %s", status, said)
			}
			b.wantNothing()
		})
	}
}

// deaf is a program that says ready and then listens to no signal. `sh -c` of busybox catches
// SIGINT (SigCgt in /proc/PID/status), and must not be the one who says it.
var deaf = []string{"sh", "-c", "echo ready >/dev/shm/ready; exec busybox tail -f /dev/shm/ready"}

// The first process of a pid namespace does not get signals that it does not
// handle: pid_namespaces(7). Ctrl-C ends it all the same.
func TestASignalThatMeansEndEndsAProgramThatDoesNotListen(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program(deaf...))
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r := b.start("ready", "run", "--bundle", b.dir, "box")
		r.signal(s)
		if status, said := r.end(); status != 137 {
			t.Errorf("%v: status %d, want 137: %s", s, status, said)
		}
	}
	b.wantNothing()
}

func TestExplainPrintsEachStepAndItsTime(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("true"))
	got := b.do("run", "--explain", "--bundle", b.dir, "box")
	if got.status != 0 {
		t.Fatalf("status %d: %s", got.status, got.err)
	}
	for _, call := range []string{"fsopen(\"proc\"", "pivot_root(", "sethostname(\"runc\"", "capset(", "faccessat2(AT_FDCWD, \"/bin/true\""} {
		if !strings.Contains(got.err, call) {
			t.Errorf("no line about %s in\n%s", call, got.err)
		}
	}
}

// Our own `spec` writes a bundle that we run, and does not overwrite one.
func TestSpecWritesABundleThatRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	b.must(os.Remove(b.dir + "/config.json"))
	b.succeed("spec", "--bundle", b.dir)
	if again := b.do("spec", "--bundle", b.dir); again.status != 1 {
		t.Errorf("a second spec: status %d, want 1", again.status)
	}
	b.edit(program("sh", "-c", "cat /proc/sys/kernel/hostname"))
	if out := b.succeed("run", "--bundle", b.dir, "box"); out != "skiff\n" {
		t.Errorf("got %q", out)
	}
}

func TestTwoContainersOfOneBundle(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program(deaf...))
	one := b.start("ready", "run", "--bundle", b.dir, "one")
	two := b.start("ready", "run", "--bundle", b.dir, "two")
	if out := b.succeed("list"); !strings.Contains(out, "one ") || !strings.Contains(out, "two ") {
		t.Errorf("list: %s", out)
	}
	b.succeed("kill", "one", "KILL")
	if status, said := one.end(); status != 137 {
		t.Errorf("one: status %d: %s", status, said)
	}
	if s := b.status("two"); s != specs.StateRunning {
		t.Errorf("two is %q", s)
	}
	two.signal(syscall.SIGTERM)
	if status, said := two.end(); status != 137 {
		t.Errorf("two: status %d: %s", status, said)
	}
}

// Go ends a program that writes to standard error when nobody reads there. This one has
// a container to remove first.
func TestAWarningThatNobodyReadsLeavesNothingBehind(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, program("sh", "-c", "exit 9"), func(s *specs.Spec) { s.Linux.MountLabel = "system_u:object_r:container_t:s0" })
	nobody, theirs, err := os.Pipe()
	b.must(err)
	b.must(nobody.Close())
	defer theirs.Close()
	for _, option := range []string{"--keep=false", "--explain"} {
		cmd := b.command("run", option, "--bundle", b.dir, "box")
		cmd.Stderr = theirs
		err = cmd.Run()
		if cmd.ProcessState.ExitCode() != 9 {
			t.Errorf("run %s: %v, want exit status 9", option, err)
		}
		b.wantNothing()
	}
}
