// Package overlay stacks directories: image layers that are only read, and on
// top of them one directory that takes all writes.
//
// The kernel's overlayfs does the work (Documentation/filesystems/overlayfs.rst).
// A lookup goes through the layers from the top down. The first write to a file
// copies it up to the upper directory; deleting it leaves a whiteout there. So
// a hundred containers share one image, each one sees only its own changes, and
// throwing a container away is removing its upper directory.
//
// A stack is mounted by the container's first process, in a mount namespace of
// its own: the mount ends with the container, and the host never sees it. So
// this package makes steps of a plan (Stack.Steps). Where that process has not
// the rights for it, because it is in a user namespace, the parent mounts the
// stack where nobody sees it, and hands it over (Stack.IDMapped). And where the
// kernel refuses overlayfs, there is a copy (Stack.Copy).
package overlay

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// chapter is the chapter of workshop.md that explains these steps.
const chapter = 4

// Stack is what an overlay mount is made of. All paths are absolute.
type Stack struct {
	Lower []string // directories that are only read, topmost first; package layer makes them

	// Upper takes the writes. Work is in the same mount as Upper, and for
	// overlayfs alone. Without the two, the mount is read-only.
	Upper, Work string

	// UserXattr has overlayfs keep its marks in attributes of the family user.*,
	// as a mount in a user namespace must: trusted.* is for the host's root.
	UserXattr bool

	// Volatile never waits for the disk: sync(2) does nothing. A crash of the
	// machine may leave half of a file, and overlayfs refuses to mount Upper
	// again. So it is for what goes away with the container.
	Volatile bool

	// OnePage is for kernels before 6.8, which take all layers as one text.
	OnePage bool
}

// maxLower is overlayfs's limit on lower directories, OVL_MAX_STACK.
const maxLower = 500

// check finds what the kernel would answer with EINVAL.
func (s Stack) check() error {
	switch {
	case len(s.Lower) == 0:
		return fmt.Errorf("no lower directory: %w", unix.EINVAL)
	case len(s.Lower) > maxLower:
		return fmt.Errorf("%d lower directories, and overlayfs takes %d: %w", len(s.Lower), maxLower, unix.E2BIG)
	case (s.Upper == "") != (s.Work == ""):
		return fmt.Errorf("upper %q without work %q: both or none: %w", s.Upper, s.Work, unix.EINVAL)
	case s.Upper == "" && len(s.Lower) == 1:
		return fmt.Errorf("one lower directory and no upper one: there is nothing to stack: %w", unix.EINVAL)
	}
	for _, dir := range s.all() {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
			return fmt.Errorf("directory %q: not an absolute, clean path below /: %w", dir, unix.EINVAL)
		}
	}
	return nil
}

// all are all directories of the stack.
func (s Stack) all() []string {
	dirs := append([]string{}, s.Lower...)
	if s.Upper != "" {
		dirs = append(dirs, s.Upper, s.Work)
	}
	return dirs
}
