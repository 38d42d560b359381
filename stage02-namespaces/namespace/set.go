package namespace

import (
	"errors"
	"fmt"
	"os"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Which namespaces a process shall have: linux.namespaces of runtime-spec
// config-linux.md. How it gets into them is in order.go.

// A Set says which namespaces a process shall have: those that are new, those
// that are joined, and for all other kinds the ones that it inherits.
type Set struct {
	fresh   int       // CLONE_NEW* of the new ones
	joined  []*joined // in the order in which they are entered, see arrange
	offsets string    // what timens_offsets gets, or ""
}

// joined is what one setns(2) enters.
type joined struct {
	flags int      // CLONE_NEW* of what it enters
	file  *os.File // a namespace, or a pidfd
	name  string   // what a plan calls the descriptor
	doing string   // what an error says
	parts []*os.File
}

// NewSet reads the namespaces of a container's configuration: one with a
// path is joined, one without is new. A kind that is named twice, or a path
// to a namespace of another kind, is an error. Close gives the opened files
// back.
//
// A path to the namespace that the process would inherit is as good as not
// named: there is nothing to enter, and Has says no. The kernel would refuse
// it for a user namespace (EINVAL), and for the others ask for rights that an
// ordinary user does not have.
func NewSet(namespaces []specs.LinuxNamespace) (*Set, error) {
	s := &Set{}
	wanted := map[specs.LinuxNamespaceType]specs.LinuxNamespace{}
	for _, n := range namespaces {
		if _, err := ByType(n.Type); err != nil {
			return nil, err
		}
		if _, twice := wanted[n.Type]; twice {
			return nil, fmt.Errorf("namespace %q is named twice", n.Type)
		}
		wanted[n.Type] = n
	}
	for _, k := range Kinds {
		n, ok := wanted[k.Type]
		switch {
		case !ok:
		case n.Path == "":
			s.fresh |= k.Flag
		default:
			if err := s.joinPath(k, n.Path); err != nil {
				return nil, errors.Join(err, s.Close())
			}
		}
	}
	if err := s.arrange(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// joinPath opens the namespace at path, unless it is inherited anyway.
func (s *Set) joinPath(k Kind, path string) error {
	f, err := k.Open(path)
	if err != nil {
		return err
	}
	inherited, err := k.inherited(f)
	if err != nil || inherited {
		return errors.Join(err, f.Close())
	}
	s.joined = append(s.joined, &joined{
		flags: k.Flag, file: f, name: fmt.Sprintf("%s_namespace", k.Type),
		doing: fmt.Sprintf("join %s namespace %q", k.Type, path),
		parts: []*os.File{f},
	})
	return nil
}

// Has tells whether the process gets another namespace of the kinds in flags
// than its parent's.
func (s *Set) Has(flags int) bool { return s.fresh&flags != 0 || s.joins(flags) }

// New tells whether it gets a new one.
func (s *Set) New(flags int) bool { return s.fresh&flags != 0 }

// joins tells whether one of the kinds in flags is joined.
func (s *Set) joins(flags int) bool {
	return slices.ContainsFunc(s.joined, func(j *joined) bool { return j.flags&flags != 0 })
}

// Close closes the namespace files that the set has opened.
func (s *Set) Close() error {
	var errs []error
	for _, j := range s.joined {
		errs = append(errs, j.close())
	}
	s.joined = nil
	return errors.Join(errs...)
}

// errNoProcess says why the namespaces of a process are not to be had.
func errNoProcess(err error) error {
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return hint.Add(err, "the process is another user's, or has more rights than this one; root may: ptrace(2), \"Ptrace access mode checking\"")
	}
	return hint.Add(err, "the process may have ended; its namespaces live on only where others share them, or a file keeps them")
}

// everything are the flags of all kinds.
const everything = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME
