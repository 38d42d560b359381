package pid1_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/pid1"
)

// patience bounds every wait for something that another process does.
const patience = time.Minute

// initProgram is the path of our init.
func initProgram(t *testing.T) string {
	t.Helper()
	return testkit.Build(t, "./testdata/skiff-init")
}

// underInit is a command: the init with these words, not as process 1.
func underInit(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(initProgram(t))
	cmd.Args = append([]string{pid1.Name}, words...)
	return cmd
}

// output is what cmd prints; it must succeed.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return string(out)
}

// A container is a new pid namespace.
type container struct {
	*launch.Process
	lines *bufio.Reader // what its processes print
}

// newContainer starts a program as process 1 of a new pid namespace.
func newContainer(t *testing.T, program string, args ...string) container {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	out := plan.Descriptor{Number: int(w.Fd()), Name: "output"}
	p.Add(plan.Dup3(out, 1), plan.Dup3(out, 2), plan.CloseOnExec(3), plan.SetSignalMask(0),
		plan.Execve(program, args, os.Environ()))
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWPID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(process.Kill(), process.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(w.Close(), process.Started(), r.SetReadDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	return container{process, bufio.NewReader(r)}
}

// withInit runs a shell script under our init, in a new pid namespace.
func withInit(t *testing.T, script string) container {
	t.Helper()
	return newContainer(t, initProgram(t), pid1.Name, "sh", "-c", script)
}

// line is the next line that the container prints.
func (c container) line(t *testing.T) string {
	t.Helper()
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("read from the container: %v (%q)", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

// status waits for the end of process 1.
func (c container) status(t *testing.T) int {
	t.Helper()
	status, err := c.Wait()
	if err != nil || !status.Exited() {
		t.Fatalf("process 1 has not exited: %v, %v", status, err)
	}
	return status.ExitStatus()
}

// eventually waits until check returns "", or fails with what it returns.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// children are the children of a process, as "state name" by pid.
func children(t *testing.T, parent int) map[int]string {
	t.Helper()
	found := map[int]string{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		end := strings.LastIndex(string(data), ")")
		fields := strings.Fields(string(data)[end+1:])
		if fields[1] != strconv.Itoa(parent) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(string(data), &pid); err != nil {
			t.Fatal(err)
		}
		name := string(data)[strings.Index(string(data), "(")+1 : end]
		found[pid] = fields[0] + " " + name
	}
	return found
}
