package oci

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/namespace"
)

// Kernel parameters of the container's namespaces: runtime-spec config-linux.md,
// "Sysctl", and sysctl(8).

// isSysctlName tells whether a name is words of letters, digits, "_" and "-"
// between dots. Anything else (CVE-2022-0811 smuggled a second one
// in with "+") is refused.
func isSysctlName(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	words := strings.Split(name, ".")
	for _, w := range words {
		if w == "" || strings.Trim(w, letters) != "" {
			return false
		}
	}
	return len(words) > 1
}

// ownedBy maps the beginning of a sysctl's name to the namespace that it
// belongs to: namespaces(7), ipc_namespaces(7). All others are the host's.
var ownedBy = []struct {
	prefix string
	flag   int
}{
	{"net.", unix.CLONE_NEWNET},
	{"fs.mqueue.", unix.CLONE_NEWIPC},
	{"kernel.msg", unix.CLONE_NEWIPC},
	{"kernel.sem", unix.CLONE_NEWIPC},
	{"kernel.shm", unix.CLONE_NEWIPC},
}

// sysctls adds the steps that write kernel parameters, all of which must
// belong to a namespace of the container's own.
func sysctls(p *plan.Plan, root plan.FD, values map[string]string, set *namespace.Set) error {
	p.Section(chapter, "kernel parameters")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !isSysctlName(name) {
			return fmt.Errorf("linux.sysctl: %q is not the name of a kernel parameter", name)
		}
		if !owned(name, set) {
			return fmt.Errorf("linux.sysctl: %q belongs to the host, or to a namespace that the container shares with it", name)
		}
		file := p.Register("sysctl")
		how := unix.OpenHow{
			Flags:   unix.O_WRONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, // without /proc it could be a FIFO of the image
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
		}
		p.Add(
			plan.Openat2(root, "proc/sys/"+strings.ReplaceAll(name, ".", "/"), how).Into(file).
				Doing("set sysctl %s", name).Hint(unix.ENOENT, "the kernel has no such parameter, or /proc is not mounted"),
			plan.Write(file, values[name]).Doing("set sysctl %s to %q", name, values[name]),
			plan.Close(file),
		)
	}
	return nil
}

// owned tells whether the parameter belongs to a namespace of the container.
func owned(name string, set *namespace.Set) bool {
	for _, o := range ownedBy {
		if strings.HasPrefix(name, o.prefix) {
			return set.Has(o.flag)
		}
	}
	return false
}
