package namespace_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

// ids maps root and all others of a user namespace to ids that nobody has.
var ids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}

// namespaces names kinds that shall be new.
func namespaces(kinds ...specs.LinuxNamespaceType) []specs.LinuxNamespace {
	var all []specs.LinuxNamespace
	for _, k := range kinds {
		all = append(all, specs.LinuxNamespace{Type: k})
	}
	return all
}

// newSet is NewSet, closed with the test.
func newSet(t *testing.T, wanted []specs.LinuxNamespace) *namespace.Set {
	t.Helper()
	set, err := namespace.NewSet(wanted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return set
}

// newGate makes a gate, closed with the test.
func newGate(t *testing.T) *launch.Gate {
	t.Helper()
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gate.Close(); err != nil {
			t.Error(err)
		}
	})
	return gate
}

// start launches p; the process ends with the test.
func start(t *testing.T, p *plan.Plan, o launch.Options) *launch.Process {
	t.Helper()
	process, err := launch.Start(p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(process.Kill(), process.Close()); err != nil {
			t.Error(err)
		}
	})
	return process
}

// holder starts a process in new namespaces of these kinds, which holds them
// until the test ends.
func holder(t *testing.T, kinds ...specs.LinuxNamespaceType) *launch.Process {
	t.Helper()
	return hold(t, newSet(t, namespaces(kinds...)))
}

// hold is holder for any set.
func hold(t *testing.T, set *namespace.Set) *launch.Process {
	t.Helper()
	never := newGate(t)
	ready, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := &plan.Plan{}
	set.Steps(p)
	set.LateSteps(p)
	p.Add(plan.Write(plan.Descriptor{Number: int(says.Fd()), Name: "ready"}, "r"))
	p.Add(never.Steps()...)
	p.Add(plan.Exit(0))
	process := start(t, p, launch.Options{Namespaces: set.Born()})
	if err := says.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		t.Fatal(errors.Join(err, process.Started()))
	}
	if set.New(userFlag) {
		if err := (namespace.Maps{UIDs: ids, GIDs: ids}).Write(process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	return process
}

// probe runs our probe in a container, see output.
func probe(t *testing.T, o launch.Options, add func(p *plan.Plan), prepare func(*launch.Process), sections ...string) string {
	t.Helper()
	return output(t, o, add, prepare, append([]string{testkit.Probe(t)}, sections...)...)
}

// output adds the steps of add to a plan that ends with a program, runs it, and
// returns what the program has printed. prepare is what the parent does
// meanwhile.
func output(t *testing.T, o launch.Options, add func(p *plan.Plan), prepare func(*launch.Process), argv ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := &plan.Plan{}
	p.Add(plan.Dup3(plan.Descriptor{Number: int(w.Fd()), Name: "output"}, 1))
	add(p)
	p.Add(plan.CloseOnExec(3), plan.SetSignalMask(0), plan.Execve(argv[0], argv, nil))
	process := start(t, p, o)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	prepare(process)
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := process.Wait(); err != nil || status.ExitStatus() != 0 {
		t.Fatalf("status %d, error %v\n%s", status.ExitStatus(), err, text)
	}
	return string(text)
}

// nothing is what a parent does for a process that needs no preparation.
func nothing(*launch.Process) {}

// contains makes sure that the probe has seen these lines.
func contains(t *testing.T, seen string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !containsLine(seen, line) {
			t.Errorf("the probe has not seen %q, but\n%s", line, seen)
		}
	}
}

func containsLine(seen, line string) bool { return strings.Contains("\n"+seen, "\n"+line+"\n") }

// line is what the probe says of a namespace.
func line(k namespace.Kind, identity string) string {
	return fmt.Sprintf("namespace %s %s", k.File, identity)
}

// of is the identity of each namespace of a process, as the links below
// /proc/PID/ns show it: "pid:[4026531836]".
func of(t *testing.T, pid int) map[specs.LinuxNamespaceType]string {
	t.Helper()
	all := map[specs.LinuxNamespaceType]string{}
	for _, k := range namespace.Kinds {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, k.File))
		if err != nil {
			t.Fatal(err)
		}
		all[k.Type] = link
	}
	return all
}
