package look

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The tree: the processes around one, and who shares its namespaces.

// Tree draws two trees. The first is of processes: those above pid up to the
// first one, and all below it, each with the namespaces that are not its
// parent's. The second is of the namespaces of pid, each below the user
// namespace that owns it, with the other processes that share it. A process
// that does not exist is unix.ESRCH.
func Tree(w io.Writer, pid int) error {
	all, err := All()
	if err != nil {
		return err
	}
	f := newFamily(all)
	p := f.byPid[pid]
	if p == nil {
		return gone(pid)
	}
	owners, err := ownerTree(p, all)
	if err != nil {
		return err
	}
	out := newPage(w)
	f.around(p).draw(out)
	if err := out.end(); err != nil {
		return err
	}
	out = newPage(w)
	out.line("")
	out.line("namespaces of process %d\tIDENTITY\tSHARED WITH", pid)
	for _, root := range owners {
		root.draw(out)
	}
	p.confess(out)
	return out.end()
}

// A family knows the children of each process.
type family struct {
	byPid    map[int]*Process
	children map[int][]*Process
}

func newFamily(all []*Process) family {
	f := family{map[int]*Process{}, map[int][]*Process{}}
	for _, p := range all {
		f.byPid[p.Pid] = p
		f.children[p.Parent] = append(f.children[p.Parent], p)
	}
	return f
}

// around is the branch from the first process down to p, and all below p.
func (f family) around(p *Process) *branch {
	b := f.below(p, map[int]bool{})
	// Processes are read one after another, so that a pid may have been used
	// again meanwhile, and one may seem to be above itself.
	seen := map[int]bool{p.Pid: true}
	for {
		parent := f.byPid[p.Parent]
		if parent == nil || seen[parent.Pid] {
			return b
		}
		seen[parent.Pid] = true
		b = &branch{f.line(parent), []*branch{b}}
		p = parent
	}
}

// below is a process and all its descendants.
func (f family) below(p *Process, seen map[int]bool) *branch {
	seen[p.Pid] = true
	b := &branch{text: f.line(p)}
	for _, child := range f.children[p.Pid] {
		if !seen[child.Pid] {
			b.below = append(b.below, f.below(child, seen))
		}
	}
	return b
}

// line describes a process, and in which namespaces it differs from its
// parent.
func (f family) line(p *Process) string {
	words := fmt.Sprintf("%d %s", p.Pid, p.describe())
	parent := f.byPid[p.Parent]
	if parent == nil {
		return words
	}
	var own []string
	unreadable := false
	for _, n := range p.Namespaces {
		theirs := parent.Namespace(n.Kind.File).ID
		switch {
		case n.ID == "" || theirs == "":
			unreadable = unreadable || len(p.Unreadable)+len(parent.Unreadable) > 0
		case n.ID != theirs:
			own = append(own, n.Kind.File)
		}
	}
	if len(own) > 0 {
		words += "\town: " + strings.Join(own, " ")
	}
	if slices.Contains(own, "pid") && len(p.NSpid) > 1 {
		words += fmt.Sprintf(", process %d inside", p.NSpid[len(p.NSpid)-1])
	}
	if unreadable {
		words += "\tnamespaces " + notReadable
	}
	return words
}

// ownerTree hangs the namespaces of p below the user namespaces that own them.
func ownerTree(p *Process, all []*Process) ([]*branch, error) {
	users := map[string]*branch{} // user namespaces by identity
	var roots []*branch
	user := p.Namespace("user")
	if user.ID != "" {
		relatives, err := p.ReadRelatives(user.Kind)
		if err != nil {
			return nil, err
		}
		roots = []*branch{nest(append([]string{user.ID}, relatives.Ancestors...), users, p, all)}
	}
	for _, n := range p.Namespaces {
		if n.Kind.Flag == unix.CLONE_NEWUSER && n.ID != "" {
			continue // has its branch
		}
		line, owner, err := p.namespaceLine(n, all)
		if err != nil {
			return nil, err
		}
		if owner != "" && users[owner] == nil { // it belongs to neither p's user namespace nor one above
			users[owner] = &branch{text: userLine(owner, p, all)}
			roots = append(roots, users[owner])
		}
		if owner == "" {
			roots = append(roots, &branch{text: line})
			continue
		}
		users[owner].below = append(users[owner].below, &branch{text: line})
	}
	return roots, nil
}

// nest makes branches for a user namespace and those above it, nearest first,
// and returns the uppermost.
func nest(identities []string, users map[string]*branch, p *Process, all []*Process) *branch {
	var inner *branch
	for _, id := range identities {
		b := &branch{text: userLine(id, p, all)}
		if inner != nil {
			b.below = []*branch{inner}
		}
		users[id] = b
		inner = b
	}
	return inner
}

// userLine describes a user namespace; it may be one that p is not in.
func userLine(id string, p *Process, all []*Process) string {
	if p.Namespace("user").ID == id {
		return "user\t" + id + "\t" + sharers(p, "user", id, all)
	}
	return "(user)\t" + id + "\tprocess " + fmt.Sprint(p.Pid) + " is not in it"
}

// namespaceLine describes a namespace, and returns its owner: "" when that is
// above what we may see, or the namespace is not readable.
func (p *Process) namespaceLine(n Namespace, all []*Process) (line, owner string, err error) {
	if n.ID == "" {
		return n.Kind.File + "\t" + p.identity(n), "", nil
	}
	relatives, err := p.ReadRelatives(n.Kind)
	if err != nil {
		return "", "", err
	}
	line = n.Kind.File + "\t" + n.ID + "\t" + sharers(p, n.Kind.File, n.ID, all)
	if len(relatives.Ancestors) > 0 {
		line += "; nested in " + strings.Join(relatives.Ancestors, ", in ")
	}
	return line, relatives.Owner, nil
}

// sharers names the other processes in a namespace, and counts those of which
// we cannot know.
func sharers(p *Process, file, id string, all []*Process) string {
	var others []string
	hidden := 0
	for _, o := range all {
		switch theirs := o.Namespace(file).ID; {
		case o.Pid == p.Pid:
		case theirs == id:
			others = append(others, fmt.Sprintf("%d %s", o.Pid, safe(o.Name)))
		case theirs == "" && len(o.Unreadable) > 0:
			hidden++
		}
	}
	const most = 3
	words := few(others, most)
	switch len(others) {
	case 0:
		words = "nobody"
	case 1:
	default:
		words = fmt.Sprintf("%d others: %s", len(others), words)
	}
	if hidden > 0 {
		words += fmt.Sprintf(" (%d are %s)", hidden, notReadable)
	}
	return words
}
