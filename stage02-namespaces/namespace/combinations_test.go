package namespace_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

// inside runs look while a process waits in the namespaces of a set, and ends
// the process. It has entered all of them by then.
func inside(t *testing.T, set *namespace.Set, look func(pid int)) {
	t.Helper()
	gate, err := launch.NewGate()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	ready, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := &plan.Plan{}
	set.Steps(p)
	set.LateSteps(p)
	p.Add(plan.Write(plan.Descriptor{Number: int(says.Fd()), Name: "ready"}, "r"))
	p.Add(gate.Steps()...)
	p.Add(plan.Exit(0))
	process, err := launch.Start(p, launch.Options{Namespaces: set.Born()})
	says.Close()
	if err != nil {
		t.Fatalf("%v\n%s", err, p)
	}
	defer func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		process.Close()
	}()
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		t.Fatalf("%v\n%s", process.Started(), p)
	}
	look(process.Pid)
}

// shellOf is what a shell sees of a process's namespaces: an eye other than
// namespace.Of.
func shellOf(t *testing.T, pid int) map[specs.LinuxNamespaceType]string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `cd /proc/$0/ns && readlink user mnt pid net ipc uts cgroup time`, fmt.Sprint(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	links := strings.Fields(string(out))
	if len(links) != len(namespace.Kinds) {
		t.Fatalf("the shell sees %q", links)
	}
	all := map[specs.LinuxNamespaceType]string{}
	for i, k := range namespace.Kinds {
		all[k.Type] = links[i]
	}
	return all
}

func TestAll256CombinationsOfNewNamespaces(t *testing.T) {
	testkit.HostUnchanged(t)
	ours := of(t, os.Getpid())
	for bits := range 1 << len(namespace.Kinds) {
		var kinds []specs.LinuxNamespaceType
		for i, k := range namespace.Kinds {
			if bits&(1<<i) != 0 {
				kinds = append(kinds, k.Type)
			}
		}
		set := newSet(t, namespaces(kinds...))
		inside(t, set, func(pid int) {
			theirs, seen := of(t, pid), shellOf(t, pid)
			for _, k := range namespace.Kinds {
				if isNew := theirs[k.Type] != ours[k.Type]; isNew != set.New(k.Flag) || seen[k.Type] != theirs[k.Type] {
					t.Errorf("%v: %s is new: %v; it is %s, a shell sees %s", kinds, k.Type, isNew, theirs[k.Type], seen[k.Type])
				}
			}
		})
	}
}

// source says where a kind of namespace comes from in the test below.
type source int

const (
	inherited source = iota
	fresh
	byPath
	byPidfd
	sources
)

// A process of the host's user namespace, and one in a user namespace of its
// own: whatever is asked for of their namespaces, new ones and the inherited
// ones, is what /proc shows.
func TestAnyMixtureOfNamespacesIsWhatTheProcessGets(t *testing.T) {
	testkit.HostUnchanged(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ours := of(t, os.Getpid())
	hosts, own := holder(t, allTypes()[1:]...), holder(t, allTypes()...)
	for range 150 {
		mixture(t, random, ours, hosts, own)
	}
}

// mixture tries one.
func mixture(t *testing.T, random *rand.Rand, ours map[specs.LinuxNamespaceType]string, holders ...*launch.Process) {
	t.Helper()
	expected, description := map[specs.LinuxNamespaceType]string{}, ""
	var wanted []specs.LinuxNamespace
	process, kinds := holders[random.IntN(len(holders))], 0
	for _, k := range namespace.Kinds {
		from, other := source(random.IntN(int(sources))), holders[random.IntN(len(holders))]
		description += fmt.Sprintf(" %s:%d/%d", k.Type, from, other.Pid)
		switch from {
		case inherited:
			expected[k.Type] = ours[k.Type]
		case fresh:
			wanted = append(wanted, specs.LinuxNamespace{Type: k.Type})
		case byPath:
			wanted = append(wanted, specs.LinuxNamespace{Type: k.Type, Path: fmt.Sprintf("/proc/%d/ns/%s", other.Pid, k.File)})
			expected[k.Type] = of(t, other.Pid)[k.Type]
		case byPidfd:
			kinds |= k.Flag
			expected[k.Type] = of(t, process.Pid)[k.Type]
		}
	}
	random.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	set := newSet(t, wanted)
	if kinds != 0 {
		join(t, set, process.Pidfd(), kinds)
	}
	if set.New(timeFlag) {
		if err := set.SetTimeOffsets(map[string]specs.LinuxTimeOffset{"boottime": {Secs: 7}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(description)
	inside(t, set, func(pid int) {
		theirs := of(t, pid)
		for _, k := range namespace.Kinds {
			want, known := expected[k.Type]
			if known && theirs[k.Type] != want || !known && theirs[k.Type] == ours[k.Type] {
				t.Errorf("%s is %s, want %q of%s", k.Type, theirs[k.Type], want, description)
			}
		}
	})
}
