// Package escape is the ways out of a root that chroot(2) has made, as plans:
// the attacks of chapter 1, which the chapters after it try again.
//
// chroot(2) changes where absolute paths begin. It does not change the working
// directory, it does not close descriptors, and it does not hide the roots of
// other processes. Each of these three is a way out; see chroot(2), which
// promises no more.
//
// Each plan makes the host's root the process's own in the end, so that a
// program of the host finds its files. That takes CAP_SYS_CHROOT, which root in
// such a root has. Where a descriptor or /proc leads out, names do without it:
// `cat /proc/1/root/etc/shadow`.
package escape

import (
	"fmt"
	"slices"
	"strings"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// A Way is one way out of a root.
type Way struct {
	Name  string // one word, for a command line
	How   string // how it leads out
	Needs string // what it takes, beside CAP_SYS_CHROOT
	out   func(*plan.Plan, Outside)
}

// Outside says where a way that starts from something of the host finds it.
type Outside struct {
	Descriptor int // an open directory of the host
	PID        int // a process whose root is the host's, as this pid namespace numbers it
}

// Usual is where such things are as a rule: the first descriptor after
// standard error, and the first process, which on a host is init.
var Usual = Outside{Descriptor: 3, PID: 1}

// Ways are the ways out, the one that needs least first.
var Ways = []Way{
	{"chroot", "a second root, below the working directory", "nothing", secondRoot},
	{"descriptor", "a second root, and a descriptor from before it", "nothing", keptDescriptor},
	{"leak", "a directory of the host that somebody left open", "an inherited descriptor", leakedDescriptor},
	{"proc", "the root of a process that is outside", "a proc file system that shows such a process", otherRoot},
}

// Named is the way of this name.
func Named(name string) (Way, error) {
	i := slices.IndexFunc(Ways, func(w Way) bool { return w.Name == name })
	if i < 0 {
		return Way{}, hint.Add(fmt.Errorf("no way out is called %q", name), "there are: "+Names())
	}
	return Ways[i], nil
}

// Names are the names of all ways, with commas in between.
func Names() string {
	var names []string
	for _, w := range Ways {
		names = append(names, w.Name)
	}
	return strings.Join(names, ", ")
}

// Plan is the plan of a process that leaves its root in this way and becomes
// the program argv of the host, with the environment envp. argv[0] is a path.
func (w Way) Plan(from Outside, argv, envp []string) *plan.Plan {
	p := &plan.Plan{}
	w.out(p, from)
	p.Section(1, "a program of the host")
	p.Add(plan.Execve(argv[0], argv, envp))
	return p
}
