package namespace_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// CVE-2016-9962: between joining the namespaces of a container and executing a
// program in there, a process has still the user ids and the files of the
// host. The container's root, who may trace whatever is in his user namespace,
// must not get at it.
func TestAProcessThatJoinsCannotBeTracedFromInside(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, kinds := range [][]specs.LinuxNamespaceType{{"user", "pid"}, {"user"}} {
		victim := holder(t, kinds...)
		var paths []specs.LinuxNamespace
		for _, kind := range kinds {
			paths = append(paths, specs.LinuxNamespace{Type: kind, Path: fmt.Sprintf("/proc/%d/ns/%s", victim.Pid, kind)})
		}
		joining := hold(t, newSet(t, paths))
		inside := newSet(t, paths)
		tracer := testkit.Build(t, "./testdata/tracer")
		seen := output(t, launch.Options{Namespaces: inside.Born()}, func(p *plan.Plan) {
			inside.Steps(p)
			p.Add(plan.Setresgid(0), plan.Setresuid(0))
		}, nothing, tracer, innermost(t, victim.Pid), innermost(t, joining.Pid))
		if want := "<nil>\noperation not permitted\n"; seen != want {
			t.Errorf("joined %v: tracing a process of the container, and one that joins: %q, want %q", kinds, seen, want)
		}
	}
}

// innermost is the number of a process in its own pid namespace.
func innermost(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	all := strings.Fields(line)
	return all[len(all)-1]
}
