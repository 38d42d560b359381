package oci_test

import (
	"regexp"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/namespace"
)

// planOf is the plan of the default configuration with a change. Nothing is
// made on the host for it.
func planOf(t *testing.T, change func(*specs.Spec)) (*plan.Plan, error) {
	t.Helper()
	spec := oci.Default()
	spec.Root.Path = "/srv/box"
	change(spec)
	set, err := namespace.NewSet(spec.Linux.Namespaces)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	c := oci.Container{
		Spec: spec, Namespaces: set,
		Prepared:  []plan.Step{plan.ReadByte(plan.Descriptor{Number: 5, Name: "gate"}, 'g')},
		Begin:     []plan.Step{plan.ReadByte(plan.Descriptor{Number: 6, Name: "start"}, 's')},
		Cgroups:   map[string]string{"": "/sys/fs/cgroup/unified/box", "memory": "/sys/fs/cgroup/memory/box"},
		Entrances: []string{"/sys/fs/cgroup/memory/box/tasks"},
	}
	p, _, err := c.Plan()
	return p, err
}

// inOrder fails the test unless the text has these parts, in this order.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q does not come where it should in:\n%s", part, text)
		}
		rest = after
	}
}

// The whole plan, as a manual has it. It needs no root, and is the same
// everywhere.
func TestThePlanOfTheDefaultConfiguration(t *testing.T) {
	p, err := planOf(t, func(s *specs.Spec) {
		s.Process.Terminal = false
		// Without a limit here the plan gives back the one that Go has raised,
		// which depends on where the test runs: see package security.
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1024}}
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, gaps.ReplaceAllString(p.String(), "close_range(GAPS)\n"), "plan.golden")
}

// gaps are between the descriptors that a plan keeps, whose numbers differ.
var gaps = regexp.MustCompile(`(close_range\(\d+, \d+, 0\)\n)+`)

// A user namespace must be mapped before its process can be root in it; a
// cgroup namespace shows as its root the group that the process is in.
func TestTheParentIsWaitedForAsLateAsCanBe(t *testing.T) {
	plain, err := planOf(t, func(*specs.Spec) {})
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, plain.String(), "tasks", "# enter the cgroups", `"proc"`, "# wait for the parent",
		"CLONE_NEWCGROUP", "pivot_root", "# wait for start", "execve")
	mapped, err := planOf(t, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	})
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, mapped.String(), "# wait for the parent", "CLONE_NEWCGROUP", "# root of its own user namespace", "setresuid", "pivot_root")
}

func TestRootfsPropagation(t *testing.T) {
	for _, c := range []struct{ word, first, last, err string }{
		{word: "", first: "MS_REC|MS_SLAVE", last: "chdir"},
		{word: "slave", first: "MS_REC|MS_SLAVE", last: "NULL, MS_SLAVE, NULL"},
		{word: "rslave", first: "MS_REC|MS_SLAVE", last: "MS_REC|MS_SLAVE"},
		{word: "private", first: "MS_REC|MS_PRIVATE", last: "NULL, MS_PRIVATE, NULL"},
		{word: "rprivate", first: "MS_REC|MS_PRIVATE", last: "MS_REC|MS_PRIVATE"},
		{word: "shared", first: "MS_REC|MS_SLAVE", last: "NULL, MS_SHARED, NULL"},
		{word: "rshared", first: "MS_REC|MS_SLAVE", last: "MS_REC|MS_SHARED"},
		{word: "unbindable", first: "MS_REC|MS_PRIVATE", last: "NULL, MS_UNBINDABLE, NULL"},
		{word: "runbindable", first: "MS_REC|MS_PRIVATE", last: "MS_REC|MS_UNBINDABLE"},
		{word: "sideways", err: `linux.rootfsPropagation: propagation "sideways"`},
	} {
		t.Run(c.word, func(t *testing.T) {
			p, err := planOf(t, func(s *specs.Spec) { s.Linux.RootfsPropagation = c.word })
			if c.err != "" {
				refused(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, p.String(), c.first, "pivot_root", c.last)
		})
	}
}
