// Probe looks at a container from the inside and says what it sees.
//
// It is the independent witness of the tests: a static program that asks the
// kernel only, knows nothing of the runtime that started it, and needs nothing
// of the root file system that it stands in. Its report has one fact a line:
//
//	$ probe hostname namespaces
//	hostname box
//	domainname (none)
//	namespace mnt mnt:[4026532177]
//	…
//
// Without arguments it reports everything. What cannot be seen (no /proc, say)
// is a fact too: `mounts: open /proc/self/mountinfo: no such file or
// directory`, and no failure.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"
)

// section is one subject of the report.
type section struct {
	name  string
	about string
	print func(out io.Writer) error
}

// sections are all subjects, in the order of the report.
var sections = []section{
	{"hostname", "host and domain name", hostname},
	{"process", "pid, parent, session", process},
	{"ids", "user and group ids, and what they are mapped to", ids},
	{"namespaces", "the namespaces that this process is in", namespaces},
	{"cwd", "the working directory", cwd},
	{"root", "what is in /", root},
	{"mounts", "mount points with type and options", mounts},
	{"processes", "the processes that can be seen", processes},
	{"cgroup", "the control groups that this process is in", cgroup},
	{"limits", "the limits of those groups that can be read", limits},
	{"network", "links, addresses, routes", network},
	{"capabilities", "capability sets", capabilities},
	{"security", "no_new_privs, seccomp, dumpable", security},
	{"rlimits", "resource limits", rlimits},
	{"descriptors", "open descriptors", descriptors},
	{"umask", "the file mode creation mask", umask},
	{"environment", "environment variables", environment},
	{"arguments", "arguments, the program's name first", arguments},
}

func main() {
	chosen, err := choose(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		usage(os.Stderr)
		os.Exit(2)
	}
	if len(os.Args) == 2 && os.Args[1] == "-h" {
		usage(os.Stdout)
		return
	}
	for _, s := range chosen {
		if err := s.print(os.Stdout); err != nil {
			fmt.Printf("%s: %v\n", s.name, err)
		}
	}
}

// choose returns the sections of these names, all of them when there are none.
// What follows "--" is for the arguments section alone.
func choose(names []string) ([]section, error) {
	if i := slices.Index(names, "--"); i >= 0 {
		names = names[:i]
	}
	if len(names) == 0 || names[0] == "-h" {
		return sections, nil
	}
	var chosen []section
	for _, name := range names {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q", name)
		}
		chosen = append(chosen, sections[i])
	}
	return chosen, nil
}

func usage(out io.Writer) {
	fmt.Fprintln(out, "usage: probe [SECTION…] [-- ARGUMENT…]")
	for _, s := range sections {
		fmt.Fprintf(out, "  %-13s %s\n", s.name, s.about)
	}
}
