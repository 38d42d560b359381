package look

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage02-namespaces/namespace"
)

// The namespaces of a process: the links below /proc/PID/ns, namespaces(7), and
// how namespaces belong to each other, ioctl_ns(2).

// A Namespace is one of the eight of a process.
type Namespace struct {
	Kind namespace.Kind
	// ID is its identity, "pid:[4026531836]": equal for all processes that
	// share it. "" when it is not readable, or there is none any more.
	ID string
	// Children is the identity of the one that the process's next child will
	// be in, where that is another: after an unshare(2) of a pid or time
	// namespace.
	Children string
}

// Namespace finds one by the name of its file: "mnt", "pid". An unknown name
// gives one without identity.
func (p *Process) Namespace(file string) Namespace {
	for _, n := range p.Namespaces {
		if n.Kind.File == file {
			return n
		}
	}
	return Namespace{}
}

// readNamespaces reads the links. Without permission, and for a zombie, which
// has given most of them back, an identity stays empty.
func (p *Process) readNamespaces() error {
	for _, k := range namespace.Kinds {
		n := Namespace{Kind: k}
		var err error
		if n.ID, err = os.Readlink(folder(p.Pid) + "ns/" + k.File); err != nil {
			if _, e := os.Stat(folder(p.Pid)); e != nil {
				return gone(p.Pid)
			}
			if errors.Is(err, fs.ErrPermission) {
				p.unless(trouble(p.Pid, err))
			}
		}
		// Only pid and time have such a link; between unshare(2) and the first
		// child that of a pid namespace leads nowhere yet.
		if next, err := os.Readlink(folder(p.Pid) + "ns/" + k.File + "_for_children"); err == nil && next != n.ID {
			n.Children = next
		}
		p.Namespaces = append(p.Namespaces, n)
	}
	return nil
}

// Relatives are the namespaces that one belongs to.
type Relatives struct {
	// Owner is the user namespace in which one needs capabilities to change
	// it. "" for a user namespace, whose owner is its parent.
	Owner string
	// Ancestors are the namespaces that it is nested in, the nearest first, as
	// far up as the kernel lets us see: to our own. Only user and pid
	// namespaces are nested.
	Ancestors []string
}

// ReadRelatives asks the kernel: NS_GET_USERNS and NS_GET_PARENT. What lies
// above our own namespaces is EPERM, and left out.
func (p *Process) ReadRelatives(k namespace.Kind) (Relatives, error) {
	var r Relatives
	f, err := os.Open(folder(p.Pid) + "ns/" + k.File)
	if err != nil {
		return r, trouble(p.Pid, err)
	}
	defer func() { f.Close() }() // whichever it is by then
	if k.Flag != unix.CLONE_NEWUSER {
		owner, err := namespace.Relative(f, unix.NS_GET_USERNS)
		if err != nil {
			return r, err
		}
		if owner != nil {
			r.Owner = owner.Name()
			owner.Close()
		}
	}
	for k.Flag == unix.CLONE_NEWUSER || k.Flag == unix.CLONE_NEWPID {
		parent, err := namespace.Relative(f, unix.NS_GET_PARENT)
		if parent == nil {
			return r, err
		}
		r.Ancestors = append(r.Ancestors, parent.Name())
		f.Close()
		f = parent
	}
	return r, nil
}
