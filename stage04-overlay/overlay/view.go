package overlay

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
)

// Looking into layers without a container: who copies a file out of an image, or
// asks whether the image has one, needs what the stack shows.

// View returns layers, topmost first, as a container on them would see them, to
// be read: a mount that is attached nowhere, so that it ends with the descriptor,
// whoever is killed. One layer needs no mount; it is its own view.
func View(lower []string) (*os.File, error) {
	if len(lower) == 1 {
		return os.Open(lower[0])
	}
	s := Stack{Lower: lower, UserXattr: WithoutRoot()}
	err := s.check()
	if err == nil {
		s.OnePage, err = olderThan(6, 8)
	}
	if err != nil {
		return nil, fmt.Errorf("look into layers: %w", err)
	}
	p := &plan.Plan{}
	mount.Detach(p, unix.MS_PRIVATE)
	// As in IDMapped: the place of a layer, which has been found by then.
	if err := s.Steps(p, lower[0]); err != nil {
		return nil, err
	}
	return inNewMounts(func() (int, error) {
		if err := plan.Run(p); err != nil {
			return -1, err
		}
		return takeMount(lower[0])
	})
}

// takeMount takes the stack off the place where it was mounted for a moment.
func takeMount(place string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, place, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("take the mount of the layers: %w", err)
	}
	return fd, nil
}
