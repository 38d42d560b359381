package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// A kind of namespace that linux.namespaces does not name is inherited, the
// mount namespace too: runtime-spec config-linux.md, "Namespaces". The container
// has its root all the same, and the host none of its mounts.

// withoutMounts takes the mount namespace from a configuration.
func withoutMounts(s *specs.Spec) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
}

func TestAContainerInTheMountNamespaceOfItsRuntime(t *testing.T) {
	testkit.HostUnchanged(t)
	look := "busybox readlink /proc/self/ns/mnt; echo /bin/*; busybox wc -c < /proc/self/mountinfo"
	b := newBundle(t, withoutMounts, program("sh", "-c", look+"; busybox mount -t tmpfs none /dev; echo > /file; echo there; exec sleep 60"))
	b.must(os.WriteFile(b.path("bin/mark"), nil, 0o644))
	own, err := os.Readlink("/proc/self/ns/mnt")
	b.must(err)

	r := b.start("there", "run", "--bundle", b.dir, b.id)
	first := b.read(r.log)
	if names := b.read("/proc/self/mountinfo"); strings.Contains(names, b.dir) {
		t.Errorf("the host has its mounts:\n%s", names)
	}
	further := b.succeed("exec", b.id, "sh", "-c", look)
	for process, said := range map[string]string{"first": first, "further": further} {
		lines := strings.Split(said, "\n")
		if lines[0] != own || !strings.Contains(lines[1], "/bin/mark") || lines[2] != "0" {
			t.Errorf("the %s process sees %q, want %s, its root and no mounts", process, lines[:3], own)
		}
	}
	for _, want := range []string{"mount: ", "can't create /file: Read-only file system"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is not in: %s", want, first)
		}
	}
	b.succeed("delete", "--force", b.id)
	r.end()
}

func TestAUserNamespaceWantsAMountNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t, withoutMounts, ownUsers, program("true"))
	b.reachable()
	r := b.do("run", "--bundle", b.dir, b.id)
	if want := "has a user namespace and no mount namespace"; r.status != 1 || !strings.Contains(r.err, want) {
		t.Errorf("status %d, %q; want 1 and %q", r.status, r.err, want)
	}
}
