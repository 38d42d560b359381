package namespace_test

import (
	"fmt"
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

const (
	userFlag = unix.CLONE_NEWUSER
	timeFlag = unix.CLONE_NEWTIME
)

// What `exec` into a running container does: one setns(2) with a pidfd joins
// several namespaces at once, and a nested clone enters the pid namespace.
func TestOneSetnsJoinsAllNamespacesOfAProcess(t *testing.T) {
	testkit.HostUnchanged(t)
	joined := []specs.LinuxNamespaceType{specs.UserNamespace, specs.MountNamespace, specs.PIDNamespace}
	other := holder(t, joined...)
	pidfd := plan.Descriptor{Number: int(other.Pidfd().Fd()), Name: "container"}
	seen := probe(t, launch.Options{}, func(p *plan.Plan) {
		p.Add(plan.Setns(pidfd, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID), plan.CloneSibling())
		p.Add(plan.Setgroups(), plan.Setresgid(0), plan.Setresuid(0))
	}, nothing, "namespaces", "process", "ids")
	theirs := of(t, other.Pid)
	for _, kind := range joined {
		k, err := namespace.ByType(kind)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, seen, line(k, theirs[kind]))
	}
	// Number 1 is the holder, 2 the one that joins; its parent is outside.
	contains(t, seen, "pid 2", "ppid 0", "uid 0 0 0", "gid 0 0 0", "uid_map 0 100000 65536")
}

func TestANamespaceOfEachKindIsJoinedByItsPath(t *testing.T) {
	testkit.HostUnchanged(t)
	var all []specs.LinuxNamespaceType
	for _, k := range namespace.Kinds {
		all = append(all, k.Type)
	}
	other := holder(t, all...)
	theirs, ours := of(t, other.Pid), of(t, os.Getpid())
	for _, kind := range namespace.Kinds {
		t.Run(string(kind.Type), func(t *testing.T) {
			path := fmt.Sprintf("/proc/%d/ns/%s", other.Pid, kind.File)
			set := newSet(t, []specs.LinuxNamespace{{Type: kind.Type, Path: path}})
			seen := probe(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
				set.Steps(p)
				set.LateSteps(p)
				if kind.Type == specs.UserNamespace {
					p.Add(plan.Setresuid(0))
				}
			}, nothing, "namespaces")
			for _, k := range namespace.Kinds {
				if k.Type == kind.Type {
					contains(t, seen, line(k, theirs[k.Type]))
				} else {
					contains(t, seen, line(k, ours[k.Type]))
				}
			}
		})
	}
}

func TestNewNamespacesBesideAJoinedUserNamespaceBelongToIt(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.UserNamespace)
	wanted := append(namespaces(specs.PIDNamespace, specs.UTSNamespace, specs.MountNamespace),
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", other.Pid)})
	set := newSet(t, wanted)
	seen := probe(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
		set.Steps(p)
		p.Add(plan.Setresgid(0), plan.Setresuid(0))
		p.Add(plan.Sethostname("mine")) // only the owner of a uts namespace may
	}, nothing, "process", "hostname")
	contains(t, seen, "pid 1", "hostname mine")
}
