package mount

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Whether mounts made on one side appear on the other: mount_namespaces(7),
// "SHARED SUBTREES"; runtime-spec config-linux.md, "Rootfs Mount Propagation".

// Detach adds the step that cuts the child's mounts loose from the host's:
// without it, on a host with shared mounts, everything mounted from here on
// would appear there too. propagation is MS_PRIVATE, or MS_SLAVE to let later
// mounts of the host in.
func Detach(p *plan.Plan, propagation uintptr) {
	p.Section(chapter, "mounts of its own")
	p.Add(plan.Mount("", "/", "", unix.MS_REC|propagation, "").
		Hint(unix.EINVAL, "\"/\" is no mount point, as in a chroot: leave the chroot, or make its root one "+
			"before you enter it: mount --rbind DIR DIR"))
}

// DetachFor is the propagation for Detach that goes with a word for
// Root.Propagation. It is never MS_SHARED: while the container is put
// together, none of its mounts shall appear on the host.
func DetachFor(word string) (uintptr, error) {
	if _, err := propagationOf(word); err != nil {
		return 0, err
	}
	switch word {
	case "private", "rprivate", "unbindable", "runbindable":
		return unix.MS_PRIVATE, nil
	}
	return unix.MS_SLAVE, nil
}

// Propagation sets that of the container's root: private, slave, shared or
// unbindable, with an r in front for all mounts in it; "" leaves it as Detach
// has made it. It is to be called before Mount. The step itself is the last
// that touches mounts, after the pivot, so that it has the last word.
//
// With shared or rshared, a bind mount that asks for "shared" stays one with
// the host's mount: what is mounted in there appears on the host. Otherwise
// "shared" is among the container's own copies only.
func (r *Root) Propagation(word string) error {
	p, err := propagationOf(word)
	if err != nil {
		return err
	}
	r.propagation = p
	return nil
}

// propagationOf reads a word.
func propagationOf(word string) (Propagation, error) {
	if word == "" {
		return Propagation{}, nil
	}
	if kind, ok := propagationWords.find(word); ok {
		return Propagation{Kind: kind}, nil
	}
	if kind, ok := propagationWords.find(strings.TrimPrefix(word, "r")); ok {
		return Propagation{Kind: kind, Recursive: true}, nil
	}
	return Propagation{}, fmt.Errorf("propagation %q: want private, slave, shared or unbindable, or one of them with an r in front", word)
}

// isShared tells whether a bind mount must stay one with the host's.
func (r *Root) isShared(o Options) bool {
	return r.propagation.Kind == unix.MS_SHARED &&
		slices.ContainsFunc(o.Propagation, func(p Propagation) bool { return p.Kind == unix.MS_SHARED })
}

// propagate adds the step for Propagation.
func (r *Root) propagate() {
	if r.propagation.Kind == 0 {
		return
	}
	flags := uintptr(r.propagation.Kind)
	if r.propagation.Recursive {
		flags |= unix.MS_REC
	}
	r.plan.Section(chapter, "propagation of the root")
	r.plan.Add(plan.Mount("", "/", "", flags, ""))
}
