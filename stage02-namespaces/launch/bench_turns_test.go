package launch_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// Those that are compared: testdata/container.c, and skiff in a fresh process
// of this test, since fork copies what memory a parent has, and the parent of
// a benchmark has some. Both stay alive and speak alike: for each line on their
// standard input they do some rounds, and write a line with the times.

// buildC builds a program of testdata with the machine's own compiler, static,
// and returns its path.
func buildC(t testing.TB, source string) string {
	t.Helper()
	testkit.Need(t, "cc")
	program := filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".c"))
	cmd := exec.Command("cc", "-static", "-O2", "-Wall", "-Wextra", "-o", program, filepath.Join("testdata", source))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return program
}

// rootOfTrue is a root file system whose /probe is a C program that does
// nothing: one in Go would take a millisecond to start.
func rootOfTrue(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Rename(buildC(t, "true.c"), filepath.Join(root, "probe")); err != nil {
		t.Fatal(err)
	}
	return root
}

// containerInC is the command that does turns of so many rounds in C: in root,
// or with a child that only exits if that is empty.
func containerInC(t testing.TB, rounds int, namespaces uintptr, root string) *exec.Cmd {
	t.Helper()
	args := []string{fmt.Sprint(rounds), fmt.Sprintf("%#x", namespaces)}
	if root != "" {
		args = append(args, root)
	}
	return exec.Command(buildC(t, "container.c"), args...)
}

// beSkiff, in the environment, makes a process of this test one that does
// turns of skiff's: with the namespaces and the root that it says.
const beSkiff = "DO_TURNS"

// containerBySkiff is the command that does the same turns by skiff, through
// a test that calls doTurns where beSkiff is set.
func containerBySkiff(namespaces uintptr, root string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSkiffIsComparedWithC$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%#x %s", beSkiff, namespaces, root))
	return cmd
}

// doTurns does turns until standard input ends; what says which.
func doTurns(t *testing.T, what string) {
	var namespaces uintptr
	var root string
	if n, err := fmt.Sscan(what, &namespaces, &root); n == 0 {
		t.Fatalf("%s=%q: %v", beSkiff, what, err)
	}
	p := exits(0)
	round := func() { launchAndWait(t, p, namespaces) }
	if root != "" {
		gate := newGate(t)
		p = fullPlan(t, root, gate, openNull(t))
		round = func() {
			if err := gate.Open(); err != nil {
				t.Fatal(err)
			}
			launchAndWait(t, p, namespaces)
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		before := processorTime(t)
		wall := make([]int64, turn)
		for i := range wall {
			begin := time.Now()
			round()
			wall[i] = time.Since(begin).Nanoseconds()
		}
		cpu := processorTime(t) - before
		fmt.Println(cpu.Nanoseconds(), strings.Trim(fmt.Sprint(wall), "[]"))
	}
}

func launchAndWait(t testing.TB, p *plan.Plan, namespaces uintptr) {
	process, err := launch.Start(p, launch.Options{Namespaces: namespaces})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := process.Wait(); err != nil || status != 0 {
		t.Fatalf("status %v, error %v", status, err)
	}
	if err := process.Close(); err != nil {
		t.Fatal(err)
	}
}

// processorTime is the user and system time of this process and of the
// children that it has waited for: getrusage(2).
func processorTime(t testing.TB) time.Duration {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// A contender is a process that does turns.
type contender struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// startContender starts the process; it ends with the test.
func startContender(t testing.TB, cmd *exec.Cmd) *contender {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &contender{cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		closed := in.Close() // which ends it
		rest, read := io.ReadAll(c.out)
		if err := errors.Join(closed, read, cmd.Wait()); err != nil {
			t.Errorf("%v: %v\n%s%s", cmd, err, rest, &complaints)
		}
	})
	return c
}

// times are those of one turn.
type times struct {
	wall []time.Duration // of each round
	cpu  time.Duration   // of all of them
}

// turn lets the process do its rounds.
func (c *contender) turn(t testing.TB) times {
	t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v ended: %v", c.cmd, err)
	}
	var all []time.Duration
	for _, word := range strings.Fields(line) {
		d, err := time.ParseDuration(word + "ns")
		if err != nil {
			t.Fatalf("%v: %q", c.cmd, line)
		}
		all = append(all, d)
	}
	return times{cpu: all[0], wall: all[1:]}
}
