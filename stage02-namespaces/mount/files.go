package mount

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// What the parent opens for the child, because the child itself may not: it
// inherits the descriptors. open_tree(2), user_namespaces(7).

// keep notes a file that the child needs; Close gives it back.
func (r *Root) keep(file *os.File, name string) plan.Descriptor {
	r.files = append(r.files, file)
	return plan.Descriptor{Number: int(file.Fd()), Name: name}
}

// Close gives back the descriptors that Mount has opened for the child. Call
// it when the process has been started, or will not be.
func (r *Root) Close() error {
	var errs []error
	for _, file := range r.files {
		errs = append(errs, file.Close())
	}
	r.files = nil
	return errors.Join(errs...)
}

// handOver opens the source of a bind mount here, in the parent, and returns
// the copy of the tree for the child to put into place. That is needed
//
//   - for an id map, when the child has a user namespace of its own: only who
//     rules over the file system may change what its owners mean;
//   - for a shared mount, because the child's own copy of the host's mounts is
//     cut off from it: see Detach.
func (r *Root) handOver(m specs.Mount, flags uint, ids *idMap) (plan.FD, error) {
	doing := fmt.Sprintf("bind mount %q on %q", m.Source, m.Destination)
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, flags)
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		return nil, hint.Add(fmt.Errorf("%s: open mount: %w", doing, err), plan.UsualCause("mount", errno))
	}
	tree := r.keep(os.NewFile(uintptr(fd), m.Source), "tree:"+m.Destination)
	if ids == nil {
		return tree, nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ids.user.Number)}
	if err := unix.MountSetattr(fd, "", ids.flags()|unix.AT_EMPTY_PATH, &attr); err != nil {
		err = fmt.Errorf("%s: id-map: %w", doing, err)
		if errors.Is(err, unix.EINVAL) {
			err = hint.Add(err, notIDMappable)
		}
		return nil, err
	}
	return tree, nil
}
