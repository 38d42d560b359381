package oci_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// 23. The maps are written, then the process becomes root in its user namespace, and
// then it makes what belongs to that; the offsets of a time namespace are written
// before the first process enters it.
func TestMust23TheOrderOfNamespaces(t *testing.T) {
	user := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	inOrder(t, textOf(t, user), "# wait for the parent", "CLONE_NEWCGROUP", "setresgid(0", "setresuid(0", "pivot_root")
	clocks := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	}
	inOrder(t, textOf(t, clocks), "CLONE_NEWTIME", "clone(child_stack=NULL", "pivot_root")
}

// 24. The mounts come in the order of the list, and the words that no mount knows go to
// the file system.
func TestMust24MountsComeInTheirOrder(t *testing.T) {
	inOrder(t, textOf(t, func(s *specs.Spec) {
		s.Mounts = []specs.Mount{
			{Destination: "/b", Type: "tmpfs", Source: "b", Options: []string{"ro", "size=1m"}},
			{Destination: "/a", Type: "tmpfs", Source: "a", Options: []string{"weird"}},
			{Destination: "/b/c", Type: "tmpfs", Source: "c"},
		}
	}), "# mount /b ", `"size", "1m"`, "# mount /a ", `FSCONFIG_SET_FLAG, "weird"`, "# mount /b/c ")
}

// 25. What is read-only already in a user namespace cannot be made writable there, and
// a remount must not try: mount_setattr changes what it names.
func TestMust25ARemountNamesWhatItChanges(t *testing.T) {
	text := textOf(t, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/shm", Options: []string{"remount", "bind", "ro"}})
	})
	inOrder(t, text, "# mount /dev/shm ", "# mount /dev/shm ", "mount_setattr(", "{attr_set=MOUNT_ATTR_RDONLY, attr_clr=0,")
}

// 26. The propagation of the root is set after the pivot; the mounts that the process
// has a copy of are made private or slaves before all.
func TestMust26PropagationIsSetAfterThePivot(t *testing.T) {
	inOrder(t, textOf(t, func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }),
		"MS_REC|MS_SLAVE", "move_mount", "pivot_root", "MS_SHARED")
}
