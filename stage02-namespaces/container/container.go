// Package container puts the parts of chapter 2 together to a container: new
// namespaces, a root of its own with what programs expect to find in it, and a
// program that is started, waited for and ended. See namespaces(7), and
// runtime-spec config-linux.md, "Default Filesystems".
//
// The chapters after the second add to it and do not write it again: a process
// that waits while the host prepares its cgroup (3) or its network (6), a root
// that is mounted first (4), a working directory and groups (5). So the struct
// has a field for each of them. The finished runtime makes its plan from an OCI
// configuration instead, of the same parts (package oci).
package container

import (
	"io"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/execvp"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage02-namespaces/namespace"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 2

// A Container is a process with namespaces and a root of its own. Only
// Namespaces and Argv are needed: without Root it is a program of the host that
// sees some things differently.
type Container struct {
	// Namespaces are those that the process gets: see Own.
	Namespaces *namespace.Set
	// Maps are the ids of a new user namespace.
	Maps namespace.Maps

	// Root is the directory that becomes the root, which needs a new mount
	// namespace. "" stays in the host's.
	Root string
	// Hostname is the name in a new uts namespace. "" leaves the host's.
	Hostname string
	// Mounts come after those that every container has: see Mounts.
	Mounts []specs.Mount

	// Argv is the program with its arguments, and Env its environment.
	Argv, Env []string
	// Path is where the program is in the root. "" looks for it along the PATH
	// of Env, when the plan runs.
	Path string
	// Init makes process 1 a small one that starts the program as its child and
	// does what process 1 has to do: see package pid1. It needs a Root.
	Init bool

	// Explain is where Run writes, in the end, how long each step took. Nil: nowhere.
	Explain io.Writer

	// Cgroup is an open directory of a cgroup v2 hierarchy in which the process is
	// born (clone3(2), CLONE_INTO_CGROUP). Nil leaves it in its parent's. From
	// chapter 3 on.
	Cgroup *os.File
	// Prepare is what the parent does while the process waits, right after its
	// birth. Without it the process does not wait. From chapter 3 on.
	Prepare Preparation
	// Fill adds to the root, after Mounts, what is no mount like others: the tree
	// of control groups, which is put together. From chapter 3 on.
	Fill func(*mount.Root) error
	// Layers adds the steps that mount something on Root before it is used: chapter 4.
	Layers func(*plan.Plan) error
	// Process adds steps of the process in its new root, right before its program:
	// chapters 3 and 5.
	Process func(*plan.Plan)
}

// A Preparation is what only the parent of a container's process can do for it.
type Preparation struct {
	Do      func(*launch.Process) error
	Chapter int    // of workshop.md, that explains it
	Title   string // of the steps that wait for it
}

// Own returns a set of new namespaces: those of the five kinds that every
// container of this course has, and more. One of more may also be joined, also
// instead of one of the five.
func Own(more ...specs.LinuxNamespace) (*namespace.Set, error) {
	var all []specs.LinuxNamespace
	for _, t := range []specs.LinuxNamespaceType{
		specs.PIDNamespace, specs.MountNamespace, specs.UTSNamespace, specs.IPCNamespace, specs.NetworkNamespace,
	} {
		if !slices.ContainsFunc(more, func(n specs.LinuxNamespace) bool { return n.Type == t }) {
			all = append(all, specs.LinuxNamespace{Type: t})
		}
	}
	return namespace.NewSet(append(all, more...))
}

// Mounts are what programs expect to find. proc shows the processes of the pid
// namespace that mounts it, sysfs the interfaces of the network namespace.
func Mounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "nodev", "noexec", "ro"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"},
		},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "nodev", "noexec", "mode=1777", "size=64m"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "nodev", "noexec"}},
	}
}

// Environment is what a program starts with that nothing else is asked for:
// nothing of the host's, which names places that are not there.
func Environment() []string { return []string{"PATH=" + execvp.DefaultPath, "HOME=/root"} }
