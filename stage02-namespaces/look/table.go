package look

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// The table: one process, its eight namespaces beside ours, its mounts.

// notReadable stands where /proc denies us a look.
const notReadable = "not readable"

// Table draws what there is to see of one process: a line for each kind of
// namespace (whether it is the process's own or shared with us who look, its
// identity, what it holds) and the mounts as a tree. What is not readable is
// said to be so. A process that does not exist is unix.ESRCH.
func Table(w io.Writer, pid int) error {
	them, err := Read(pid)
	if err != nil {
		return err
	}
	us, err := readFamily(os.Getpid())
	if err != nil {
		return err
	}
	out := newPage(w)
	out.line("process %d: %s", pid, them.describe())
	out.line("")
	out.line("KIND\tWHOSE\tIDENTITY\tWHAT IT HOLDS")
	for _, n := range them.Namespaces {
		out.line("%s\t%s\t%s\t%s", n.Kind.File, whose(n, us), them.identity(n), them.holds(n, us))
	}
	if err := out.end(); err != nil {
		return err
	}
	out = newPage(w)
	if len(them.Mounts) > 0 {
		out.line("")
		out.line("MOUNT POINT\tTYPE\tSOURCE\tOPTIONS\tPROPAGATION")
	}
	for _, root := range mountTree(them.Mounts) {
		root.draw(out)
	}
	them.confess(out)
	return out.end()
}

// whose says whether we share a namespace.
func whose(n Namespace, us *Process) string {
	switch n.ID {
	case "":
		return "?"
	case us.Namespace(n.Kind.File).ID:
		return "shared"
	}
	return "own"
}

// identity is that of a namespace, or why there is none.
func (p *Process) identity(n Namespace) string {
	switch {
	case n.ID != "":
		return n.ID
	case len(p.Unreadable) > 0:
		return notReadable
	}
	return "none" // a zombie's
}

// holds says what is in a namespace, as far as it can be seen from outside.
func (p *Process) holds(n Namespace, us *Process) string {
	shared := whose(n, us) == "shared"
	if n.ID == "" && len(p.Unreadable) == 0 {
		return "" // a zombie's
	}
	switch n.Kind.Flag {
	case unix.CLONE_NEWUSER:
		return p.idsInWords()
	case unix.CLONE_NEWNS:
		return p.rootInWords()
	case unix.CLONE_NEWPID:
		return p.pidInWords() + nextInWords(n)
	case unix.CLONE_NEWNET:
		return p.networkInWords()
	case unix.CLONE_NEWCGROUP:
		return p.cgroupsInWords()
	case unix.CLONE_NEWTIME:
		return p.clocksInWords() + nextInWords(n)
	case unix.CLONE_NEWUTS:
		if name, err := os.Hostname(); shared && err == nil {
			return "host name " + safe(name)
		}
	}
	if shared {
		return n.Kind.What
	}
	return n.Kind.What + ": to be seen only from inside"
}

// pidInWords says which number the process has in its own pid namespace.
func (p *Process) pidInWords() string {
	if len(p.NSpid) < 2 {
		return fmt.Sprintf("process %d", p.Pid)
	}
	return fmt.Sprintf("process %d inside (NSpid %s)", p.NSpid[len(p.NSpid)-1], strings.Trim(fmt.Sprint(p.NSpid), "[]"))
}

// nextInWords says that the next child will be in another namespace.
func nextInWords(n Namespace) string {
	if n.Children == "" {
		return ""
	}
	return "; its children are in " + n.Children
}

// rootInWords says how many mounts there are and what is mounted on /.
func (p *Process) rootInWords() string {
	if len(p.Mounts) == 0 {
		return notReadable
	}
	words := fmt.Sprintf("%d mounts", len(p.Mounts))
	if len(p.Mounts) == 1 {
		words = "1 mount"
	}
	for _, m := range slices.Backward(p.Mounts) { // the last one on / is on top
		if m.Point == "/" {
			return fmt.Sprintf("%s, / is %s from %s", words, m.Type, m.from())
		}
	}
	return words + ", none on / (a chroot)"
}

// networkInWords lists interfaces and addresses.
func (p *Process) networkInWords() string {
	n, err := p.ReadNetwork()
	if err != nil {
		return notReadable
	}
	const most = 6
	words := few(n.Interfaces, most)
	var addresses []string
	for _, a := range n.Addresses {
		addresses = append(addresses, a.String())
	}
	if len(addresses) == 0 {
		return words + "; no address"
	}
	return words + "; " + few(addresses, most)
}

// cgroupsInWords lists the paths of /proc/PID/cgroup, cgroups(7), each once:
// most controllers of version 1 agree. They begin at the root of our cgroup
// namespace, not of the process's.
func (p *Process) cgroupsInWords() string {
	text, err := p.read("cgroup")
	if err != nil {
		return notReadable
	}
	var paths []string
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // hierarchy, controllers, path
		if name := safe(fields[len(fields)-1]); !slices.Contains(paths, name) {
			paths = append(paths, name)
		}
	}
	const most = 3
	return few(paths, most)
}

// clocksInWords tells the offsets of the two clocks, time_namespaces(7).
func (p *Process) clocksInWords() string {
	text, err := p.read("timens_offsets")
	if err != nil {
		return notReadable
	}
	var words []string
	for line := range strings.Lines(text) {
		var clock string
		var seconds, nanoseconds int64
		if _, err := fmt.Sscan(line, &clock, &seconds, &nanoseconds); err != nil {
			return notReadable
		}
		offset := fmt.Sprintf("%s %+d s", clock, seconds)
		if nanoseconds != 0 {
			offset += fmt.Sprintf(" %+d ns", nanoseconds)
		}
		words = append(words, offset)
	}
	return strings.Join(words, ", ")
}

// few lists words, of which there may be too many for a line.
func few(words []string, most int) string {
	if extra := len(words) - most; extra > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), extra)
	}
	return strings.Join(words, ", ")
}

// mountTree hangs mounts below the ones that they are mounted on. A root is one
// whose parent the process does not see.
func mountTree(mounts []Mount) []*branch {
	branches := map[int]*branch{}
	for _, m := range mounts {
		propagation := strings.Join(m.Propagation, " ")
		if propagation == "" {
			propagation = "private"
		}
		branches[m.ID] = &branch{text: strings.Join([]string{
			safe(m.Point), safe(m.Type), m.from(), strings.Join(m.Options, ","), propagation,
		}, "\t")}
	}
	var roots []*branch
	for _, m := range mounts {
		parent := branches[m.Parent]
		if parent == nil || m.Parent == m.ID { // the kernel's first mount is its own parent
			roots = append(roots, branches[m.ID])
			continue
		}
		parent.below = append(parent.below, branches[m.ID])
	}
	return roots
}

// from is the source of a mount, and what of it is mounted: findmnt(8) writes
// it the same way.
func (m Mount) from() string {
	if path.Clean(m.Root) == "/" {
		return safe(m.Source)
	}
	return safe(m.Source) + "[" + safe(m.Root) + "]"
}

// confess says that not everything could be read, and who could.
func (p *Process) confess(out *page) {
	if len(p.Unreadable) == 0 {
		return
	}
	out.line("")
	out.line("not everything is readable: %v", p.Unreadable[0])
	if h := hint.Of(errors.Join(p.Unreadable...)); h != "" {
		out.line("hint: %s", h)
	}
}
