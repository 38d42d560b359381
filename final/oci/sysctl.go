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

// sysctlFile is the file below /proc/sys of a kernel parameter: words of letters,
// digits, "_" and "-". Between them are dots, and a "/" in a word is a dot in the file's
// name; or the other way round if a "/" comes first, as in sysctl(8): both
// net.ipv4.conf.eth0/7.forwarding and net/ipv4/conf/eth0.7/forwarding are about eth0.7.
// Anything else (CVE-2022-0811 smuggled a second parameter in with "+") is refused.
func sysctlFile(name string) (file string, ok bool) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		name = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '.' })
	for _, w := range words {
		if strings.Trim(w, letters) != "" {
			return "", false
		}
	}
	between := len(name) - len(strings.Join(words, "")) // each word is followed by one sign
	return name, between == len(words)-1 && strings.Contains(name, "/")
}

// ownedBy maps the beginning of a parameter's file to the namespace that it
// belongs to: namespaces(7), ipc_namespaces(7). All others are the host's.
var ownedBy = []struct {
	prefix string
	flag   int
}{
	{"net/", unix.CLONE_NEWNET},
	{"fs/mqueue/", unix.CLONE_NEWIPC},
	{"kernel/msg", unix.CLONE_NEWIPC},
	{"kernel/sem", unix.CLONE_NEWIPC},
	{"kernel/shm", unix.CLONE_NEWIPC},
	{"kernel/domainname", unix.CLONE_NEWUTS}, // what docker has for domainname
}

// sysctls adds the steps that write kernel parameters, all of which must
// belong to a namespace of the container's own.
func sysctls(p *plan.Plan, proc *hostProc, values map[string]string, set *namespace.Set) error {
	p.Section(chapter, "kernel parameters")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		file, ok := sysctlFile(name)
		if !ok {
			return fmt.Errorf("linux.sysctl: %q is not the name of a kernel parameter", name)
		}
		if !owned(file, set) {
			return fmt.Errorf("linux.sysctl: %q belongs to the host, or to a namespace that the container shares with it", name)
		}
		open, write, done := proc.write(p, "sys/"+file, values[name], "set sysctl %s to %q", name, values[name])
		p.Add(open.Hint(unix.ENOENT, "the kernel has no such parameter"), write, done)
	}
	return nil
}

// owned tells whether the parameter belongs to a namespace of the container.
func owned(file string, set *namespace.Set) bool {
	for _, o := range ownedBy {
		if strings.HasPrefix(file, o.prefix) {
			return set.Has(o.flag)
		}
	}
	return false
}
