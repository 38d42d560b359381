package namespace_test

import (
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

func TestRootInAUserNamespaceIsSomebodyElseOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	set, gate := newSet(t, namespaces(specs.UserNamespace, specs.UTSNamespace)), newGate(t)
	seen := probe(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
		set.Steps(p)
		p.Add(gate.Steps()...)
		p.Add(plan.Setgroups(5), plan.Setresgid(0), plan.Setresuid(0))
		p.Add(plan.Sethostname("box"))
	}, func(process *launch.Process) {
		if err := (namespace.Maps{UIDs: ids, GIDs: ids}).Write(process.Pid); err != nil {
			t.Fatal(err)
		}
		if err := gate.Open(); err != nil {
			t.Fatal(err)
		}
	}, "ids", "hostname", "capabilities")
	contains(t, seen, "uid 0 0 0", "gid 0 0 0", "group 5", "uid_map 0 100000 65536", "gid_map 0 100000 65536",
		"hostname box")
}

func TestNewPidAndTimeNamespacesGoTogether(t *testing.T) {
	testkit.HostUnchanged(t)
	set := newSet(t, namespaces(specs.PIDNamespace, specs.TimeNamespace))
	seen := probe(t, launch.Options{Namespaces: set.Born()}, set.Steps, nothing, "process", "namespaces")
	contains(t, seen, "pid 1", "ppid 0")
	for _, kind := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.TimeNamespace} {
		k, err := namespace.ByType(kind)
		if err != nil {
			t.Fatal(err)
		}
		if ours := line(k, of(t, os.Getpid())[kind]); containsLine(seen, ours) {
			t.Errorf("not a new one: %s", ours)
		}
	}
}

// The process joins before it is in its user namespace, where it could not any
// more, and has its maps written after: Start returns when there is one.
func TestANewUserNamespaceBesideJoinedOnes(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.NetworkNamespace)
	for range 20 { // the maps must not come too early
		set, gate := newSet(t, namespaces(specs.UserNamespace, specs.UTSNamespace)), newGate(t)
		join(t, set, other.Pidfd(), unix.CLONE_NEWNET)
		seen := probe(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
			set.Steps(p)
			p.Add(gate.Steps()...)
			p.Add(plan.Setgroups(), plan.Setresgid(0), plan.Setresuid(0), plan.Sethostname("mine"))
		}, func(process *launch.Process) {
			if err := (namespace.Maps{UIDs: ids, GIDs: ids}).Write(process.Pid); err != nil {
				t.Fatal(err)
			}
			if err := gate.Open(); err != nil {
				t.Fatal(err)
			}
		}, "ids", "hostname", "namespaces")
		net := of(t, other.Pid)[specs.NetworkNamespace]
		contains(t, seen, "uid 0 0 0", "uid_map 0 100000 65536", "hostname mine", "namespace net "+net)
	}
}
