package namespace

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The namespaces of one process: which are new and which are joined, and in which
// order, by clone3(2), unshare(2) and setns(2).

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 2

// A Set says which namespaces a process shall have: those that are new, those
// that are joined, and for all other kinds the ones that it was born with.
type Set struct {
	fresh  int      // CLONE_NEW* of the new ones
	joined []joined // in the order of Kinds
}

// joined is an open namespace.
type joined struct {
	kind Kind
	file *os.File
}

// NewSet reads the namespaces of a container's configuration: one with a
// path is joined, one without is new. A kind that is named twice, or a path
// to a namespace of another kind, is an error. Close gives the opened files
// back.
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
			f, err := k.Open(n.Path)
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			s.joined = append(s.joined, joined{k, f})
		}
	}
	return s, nil
}

// Has tells whether the process gets another namespace of the kinds in flags
// than its parent's.
func (s *Set) Has(flags int) bool { return s.fresh&flags != 0 || s.joins(flags) }

// New tells whether it gets a new one.
func (s *Set) New(flags int) bool { return s.fresh&flags != 0 }

// joins tells whether one of the kinds in flags is joined.
func (s *Set) joins(flags int) bool {
	for _, j := range s.joined {
		if j.kind.Flag&flags != 0 {
			return true
		}
	}
	return false
}

// late are the kinds that are made only after the parent has put the process
// into its cgroup: the cgroup that a process is in when it makes a cgroup
// namespace becomes the root of what that namespace shows:
// cgroup_namespaces(7).
const late = unix.CLONE_NEWCGROUP

// Born returns the namespaces that the process is born with: the flags for
// launch.Options. Where a user namespace is joined there are none, because it
// must be entered before the others are made, so that it owns them.
func (s *Set) Born() uintptr {
	if s.joins(unix.CLONE_NEWUSER) {
		return 0
	}
	born := s.fresh &^ (late | unix.CLONE_NEWTIME)
	if s.Has(unix.CLONE_NEWTIME) {
		// Steps clones once more, and it is the second process that must be
		// number 1. Besides, a number 1 may not clone a sibling (EINVAL).
		born &^= unix.CLONE_NEWPID
	}
	return uintptr(born)
}

// Steps adds the steps that enter the namespaces that the process was not
// born with, save the late ones.
func (s *Set) Steps(p *plan.Plan) {
	p.Section(chapter, "namespaces")
	for _, j := range s.joined {
		name := fmt.Sprintf("%s_namespace", j.kind.Type)
		p.Add(plan.Setns(plan.Descriptor{Number: int(j.file.Fd()), Name: name}, j.kind.Flag).
			Doing("join %s namespace %q", j.kind.Type, j.file.Name()))
	}
	rest := s.fresh &^ late &^ int(s.Born())
	if rest != 0 {
		p.Add(plan.Unshare(rest))
	}
	// A process never changes its own pid or time namespace.
	const forChildren = unix.CLONE_NEWPID | unix.CLONE_NEWTIME
	if s.joins(forChildren) || rest&forChildren != 0 {
		p.Add(plan.CloneSibling())
	}
}

// LateSteps adds the step for a new cgroup namespace, for when the process is
// in its cgroup.
func (s *Set) LateSteps(p *plan.Plan) {
	if s.fresh&late != 0 {
		p.Section(chapter, "a cgroup namespace")
		p.Add(plan.Unshare(s.fresh & late))
	}
}

// Close closes the namespace files that NewSet has opened.
func (s *Set) Close() error {
	var errs []error
	for _, j := range s.joined {
		errs = append(errs, j.file.Close())
	}
	return errors.Join(errs...)
}
