package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// The volumes that an image asks for: paths that hold data and not program. All that
// a container writes is gone with it, so where its root can be written a volume is
// nothing more than a directory. Below a read-only root it is what stays writable:
// image-spec conversion.md, "Config.Volumes".

// keepWritable makes mounts of the image's volumes. A directory of the image is
// mounted on itself: the root becomes read-only as a mount, and what is mounted in it
// does not. So a volume begins with what the image has there, and nothing is copied.
func (r *run) keepWritable(layers []string) error {
	volumes, err := image.Volumes(r.image.Config.Config)
	if err != nil || !r.options.ReadOnly {
		return err
	}
	var mounts []specs.Mount
	for i, v := range volumes {
		if slices.ContainsFunc(r.options.Volumes, func(own Volume) bool { return filepath.Clean(own.Destination) == v }) {
			continue
		}
		source := filepath.Join(r.spec.Root.Path, v)
		there, err := isDirectory(layers, v)
		if err != nil {
			return fmt.Errorf("image %q: volume %q: %w", r.options.Image, v, err)
		}
		if !there {
			source = filepath.Join(r.folder, "volume"+strconv.Itoa(i))
		}
		// In the root this is the place where the plan's maker looks for the source;
		// the layers cover it before the mount is made.
		if err := os.MkdirAll(source, 0o755); err != nil {
			return fmt.Errorf("make volume: %w", err)
		}
		mounts = append(mounts, specs.Mount{Destination: v, Type: "bind", Source: source, Options: []string{"bind", "rprivate"}})
	}
	// Before the caller's, which may lie in them.
	r.spec.Mounts = slices.Insert(r.spec.Mounts, len(oci.Default().Mounts), mounts...)
	return nil
}

// isDirectory tells whether the image has a directory of this name. No link may be on
// the way: the mount's source is a path of the host, where it would lead to something
// of the host's (CVE-2022-23648). Nothing changes the layers between this and that.
func isDirectory(layers []string, name string) (bool, error) {
	for _, layer := range layers {
		root, err := unix.Open(layer, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, err
		}
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_DIRECTORY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS}
		fd, err := unix.Openat2(root, name[1:], &how)
		err = errors.Join(err, unix.Close(root))
		switch {
		case err == nil:
			return true, unix.Close(fd)
		case errors.Is(err, unix.ENOTDIR): // a whiteout, or a file
			return false, nil
		case errors.Is(err, unix.ELOOP):
			return false, hint.Add(errors.New("a symbolic link leads there"), "mount something there yourself: --volume SOURCE:"+name)
		case !errors.Is(err, unix.ENOENT):
			return false, err
		}
	}
	return false, nil
}
