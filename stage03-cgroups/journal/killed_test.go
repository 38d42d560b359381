// kill -9 at every moment. A process makes five things that outlive it, each
// after its line in the journal. It is killed at every point on the way:
// before a line, between a line and its thing, after the thing, and in the
// middle of a line. One more process then leaves the host as it was.

package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/journal"
)

// TestMain lets the test program play the two processes of this test: it is
// run again with one of their names as its first argument.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "make-things":
		err = makeThings(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "undo-things":
		err = undoThings(os.Args[2], journal.Files())
	case len(os.Args) == 3 && os.Args[1] == "undo-step-by-step":
		err = undoThings(os.Args[2], stepByStep(journal.Files()))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// makeThings makes a state folder, a file and a mount in it, and a directory
// and a file on the mount. Before every system call it reports to its
// standard output and waits for a line from its standard input.
func makeThings(dir string) error {
	j, err := journal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	state := filepath.Join(dir, "state")
	mnt := filepath.Join(state, "mnt")
	in := bufio.NewReader(os.Stdin)
	for _, step := range []struct {
		undo, path string
		make       func() error
	}{
		{"remove-all", state, func() error { return os.Mkdir(state, 0o700) }},
		{"remove-all", state + "/log", func() error { return os.WriteFile(state+"/log", []byte("hello"), 0o600) }},
		{"rmdir", mnt, func() error { return os.Mkdir(mnt, 0o700) }},
		{"umount", mnt, func() error { return syscall.Mount("tmpfs", mnt, "tmpfs", 0, "") }},
		{"rmdir", mnt + "/dir", func() error { return os.Mkdir(mnt+"/dir", 0o700) }},
	} {
		record := func() error { return j.Record(step.undo, step.path) }
		for _, act := range []func() error{record, step.make} {
			fmt.Println("ready")
			if _, err := in.ReadString('\n'); err != nil {
				return err
			}
			if err := act(); err != nil {
				return err
			}
		}
	}
	fmt.Println("done")
	_, err = in.ReadString('\n')
	return err
}

// undoThings is the one more command.
func undoThings(dir string, undoers journal.Undoers) error {
	j, err := journal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	return j.Undo(undoers)
}

// stepByStep makes undoers that report before and after each thing that they
// undo, and wait for a line.
func stepByStep(undoers journal.Undoers) journal.Undoers {
	in := bufio.NewReader(os.Stdin)
	wait := func() error {
		fmt.Println("ready")
		_, err := in.ReadString('\n')
		return err
	}
	for kind, undo := range undoers {
		undoers[kind] = func(args []string) error { return errors.Join(wait(), undo(args), wait()) }
	}
	return undoers
}

// killAfter starts the process called role in dir, lets it take steps steps, and
// kills it. It returns false when the process had no more to do.
func killAfter(t *testing.T, role, dir string, steps int) bool {
	t.Helper()
	maker := exec.Command(os.Args[0], role, dir)
	maker.Stderr = os.Stderr
	stdin, err := maker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := maker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewScanner(stdout), ""
	for range steps {
		lines.Scan()
		fmt.Fprintln(stdin)
	}
	if lines.Scan() { // it has done what it was asked for, and waits
		said = lines.Text()
	}
	if err := maker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	maker.Wait()
	if said != "ready" && said != "done" && role == "make-things" {
		t.Fatalf("after %d steps it said %q", steps, said)
	}
	return said == "ready"
}

// finish runs undoThings in dir and checks that dir is empty.
func finish(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command(os.Args[0], "undo-things", dir).CombinedOutput(); err != nil {
		t.Errorf("one more command: %v: %s", err, out)
	}
	if left := strings.TrimSpace(run(t, "find "+dir+" -mindepth 1; grep -F "+dir+" /proc/self/mountinfo || true")); left != "" {
		t.Errorf("left on the host:\n%s", left)
	}
}

func TestKilledAtEveryMoment(t *testing.T) {
	testkit.HostUnchanged(t)
	more := true
	for steps := 0; more; steps++ {
		dir := t.TempDir()
		more = killAfter(t, "make-things", dir, steps)
		finish(t, dir)
		if t.Failed() {
			t.Fatalf("killed after %d steps", steps)
		}
	}
}

// The line of a thing that was not made yet, cut at every byte.
func TestKilledInTheMiddleOfALine(t *testing.T) {
	testkit.HostUnchanged(t)
	line := `{"undo":"rmdir","args":["/state/mnt"]}` + "\n"
	for cut := 1; cut < len(line); cut++ {
		dir := t.TempDir()
		killAfter(t, "make-things", dir, 8)
		f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, line[:cut])
		f.Close()
		finish(t, dir)
	}
}

// The one more command is killed as well, before and after each thing that it
// undoes: what is undone already is undone again.
func TestUndoThatWasKilled(t *testing.T) {
	testkit.HostUnchanged(t)
	more := true
	for steps := 0; more; steps++ {
		dir := t.TempDir()
		if killAfter(t, "make-things", dir, 10) {
			t.Fatal("the maker has more than ten steps")
		}
		more = killAfter(t, "undo-step-by-step", dir, steps)
		finish(t, dir)
		if t.Failed() {
			t.Fatalf("killed after %d steps", steps)
		}
		if !more && steps < 10 {
			t.Errorf("it undid everything in %d steps", steps)
		}
	}
}
