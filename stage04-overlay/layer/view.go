// view.go: the image as it looks through this layer and all layers below.
//
// While a layer is being unpacked no overlay is mounted, yet names must mean
// what they will mean in one. Tar entry "bin/x" may come without an entry
// "bin", because a lower layer has it; and there it may be a symbolic link to
// usr/bin, so that the file belongs into usr/bin of this layer. So this file
// looks names up as overlayfs does (Documentation/filesystems/overlayfs.rst,
// "Merged directories", "whiteouts and opaque directories"): layer by layer,
// topmost first, until something ends the search.
//
// Everything goes by descriptors, one component at a time, never following a
// symbolic link: a link is read, and its target walked from the root of the
// image, where ".." ends too. That is what chroot would do, with several
// directories for one root. (For one directory the kernel does it: openat2's
// RESOLVE_IN_ROOT, which stage 01's package inroot is made of.) Nothing here
// depends on what a name looks like, so there is no name that escapes
// (CVE-2021-32760, CVE-2021-29136, CVE-2025-47290).

package layer

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// view is a stack of layers.
type view struct {
	layers []int // root directories; 0 is the layer being unpacked, the others are below it, topmost first

	// opaque says that the layers below do not show at all. For any other
	// directory that is an attribute, but overlayfs does not look for it on
	// the root of a layer.
	opaque bool

	// open is not nil while the layers below are not known, see loose.go.
	open *open

	form  form
	steps int // left for the present entry

	kept, maxKept int64 // bytes, see keep
}

const (
	// maxLinks is how many symbolic links one name may lead through: the
	// kernel's number (man 7 path_resolution).
	maxLinks = 40

	// maxSteps bounds the work that one name can cause to about one second:
	// links to deep directories, one after another, over hundreds of layers.
	// An ordinary name, 10 deep over 20 layers, takes at most 1,100 steps.
	maxSteps = 1 << 18
)

// object is a file found in the view, held by an O_PATH descriptor.
type object struct {
	fd    int
	layer int // index in view.layers
	stat  unix.Stat_t
}

func (o *object) kind() uint32 { return o.stat.Mode & unix.S_IFMT }

// close lets go of the object, if there is one.
func (o *object) close() {
	if o != nil {
		unix.Close(o.fd)
	}
}

// find looks a path up whose directories are none of them symbolic links. It
// returns nil when there is nothing of that name.
func (v *view) find(path []string) (*object, error) {
	if v.opaque {
		return v.search(path, 0, 1)
	}
	return v.search(path, 0, len(v.layers))
}

// below looks up what would be seen at path if this layer had nothing there:
// what its whiteout, or an opaque directory, would hide.
func (v *view) below(path []string) (*object, error) {
	if v.opaque {
		return nil, nil
	}
	dir, ended, err := v.descend(0, path[:max(len(path)-1, 0)])
	if err != nil {
		return nil, err
	}
	closeDir(dir)
	if ended {
		return nil, nil
	}
	return v.search(path, 1, len(v.layers))
}

// search looks in the layers from the one to before the other.
func (v *view) search(path []string, from, to int) (*object, error) {
	for layer := from; layer < to; layer++ {
		o, ended, err := v.look(layer, path)
		if o != nil || ended || err != nil {
			return o, err
		}
	}
	return nil, nil
}

// look looks for path in one layer. What it finds may be the end of the search
// in another way: ended says that lower layers do not show at this path.
func (v *view) look(layer int, path []string) (found *object, ended bool, err error) {
	if len(path) == 0 {
		path = []string{"."}
	}
	dir, ended, err := v.descend(layer, path[:len(path)-1])
	if dir < 0 || err != nil {
		return nil, ended, err
	}
	defer closeDir(dir)
	name := path[len(path)-1]
	o := &object{layer: layer}
	switch o.fd, err = openPath(dir, name); {
	case errors.Is(err, unix.ENOENT):
		return nil, ended, nil
	case err != nil:
		return nil, ended, fmt.Errorf("open %q: %w", name, err)
	}
	if err := unix.Fstat(o.fd, &o.stat); err != nil {
		o.close()
		return nil, ended, fmt.Errorf("stat %q: %w", name, err)
	}
	hidden, err := v.form.isWhiteout(o.fd, &o.stat)
	if hidden || err != nil {
		o.close()
		return nil, true, err
	}
	return o, ended, nil
}

// descend opens the directory at path in one layer; -1 when there is none.
// ended says that one of the directories is opaque, or no directory: then lower
// layers do not show there.
func (v *view) descend(layer int, path []string) (dir int, ended bool, err error) {
	dir, err = openDir(v.layers[layer], ".")
	for _, name := range path {
		if err == nil {
			err = v.step()
		}
		if err != nil {
			break
		}
		var next int
		next, err = openDir(dir, name)
		closeDir(dir)
		dir = next
		if err == nil {
			var opaque bool
			opaque, err = v.form.isOpaque(dir)
			ended = ended || opaque
		}
	}
	switch {
	case err == nil:
		return dir, ended, nil
	case errors.Is(err, unix.ENOENT):
		return -1, ended, nil
	case errors.Is(err, unix.ENOTDIR):
		return -1, true, nil
	}
	closeDir(dir)
	return -1, ended, fmt.Errorf("open directory %q: %w", strings.Join(path, "/"), err)
}

// step counts one look into one directory.
func (v *view) step() error {
	if v.steps--; v.steps < 0 {
		return fmt.Errorf("too long a way: %w", unix.ELOOP)
	}
	return nil
}

// resolve follows the symbolic links in a list of directory names and returns
// the path without them. Directories that exist nowhere stay in the path, to be
// made; a file of another type is ENOTDIR.
func (v *view) resolve(names []string) (path []string, err error) {
	v.steps = maxSteps
	links := 0
	for todo := names; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == ".." {
			path = path[:max(len(path)-1, 0)] // the root's ".." is the root
			continue
		}
		path = append(path, name)
		target, err := v.enter(path)
		if err != nil {
			return nil, err
		}
		if target == "" {
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("more than %d symbolic links: %w", maxLinks, unix.ELOOP)
		}
		path = path[:len(path)-1]
		if strings.HasPrefix(target, "/") {
			path = path[:0]
		}
		todo = append(components(target), todo...)
	}
	return path, checkDepth(path)
}

// enter looks at a component on the way: a directory, or nothing, is fine; of a
// symbolic link it returns the target.
func (v *view) enter(path []string) (target string, err error) {
	o, err := v.find(path)
	if err != nil {
		return "", err
	}
	full := strings.Join(path, "/")
	if v.open != nil && v.open.links[full] {
		err = fmt.Errorf("%w: %q is a hard link", ErrInOrder, full)
	}
	if o == nil && err == nil && v.open != nil && !v.open.dirs[full] {
		v.open.dirs[full] = true
		err = v.keep(len(full))
	}
	if o == nil || err != nil {
		o.close()
		return "", err
	}
	defer o.close()
	switch o.kind() {
	case unix.S_IFDIR:
		return "", nil
	case unix.S_IFLNK:
		return readlink(o.fd, o.stat.Size)
	}
	return "", fmt.Errorf("%q: %w", full, unix.ENOTDIR)
}

// components splits a name at its slashes; empty components and "." go.
func components(name string) []string {
	var list []string
	for c := range strings.SplitSeq(name, "/") {
		if c != "" && c != "." {
			list = append(list, c)
		}
	}
	return list
}

// closeDir closes a directory, if it is open. Closing what was only read cannot
// fail in a way that matters.
func closeDir(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}
