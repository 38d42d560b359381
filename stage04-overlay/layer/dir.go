// dir.go: the directories of the layer being unpacked.
//
// A directory may come late in the archive, twice, or not at all; it may be
// there already because something in it came first. Its attributes have to wait
// (see settle.go).

package layer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// openedDir is the directory that the last entry was in.
type openedDir struct {
	fd   int
	path string // without symbolic links and ".."
	gone bool   // it, or one above it, may have been removed since
}

// parent opens the directory in this layer that dirs lead to, and makes what is
// missing. The descriptor is good until the next call.
func (u *unpack) parent(dirs []string) (*openedDir, error) {
	path := strings.Join(dirs, "/")
	if path == u.dir.path && u.dir.fd >= 0 && !u.dir.gone {
		return &u.dir, nil
	}
	if !slices.Contains(dirs, "..") {
		// Where this layer has real directories all the way, the view shows
		// them, so one system call does it.
		switch fd, err := openBelow(u.view.layers[0], dotted(path)); {
		case err == nil:
			return u.keep(fd, path), nil
		case !missing(err) && !errors.Is(err, unix.ELOOP):
			return nil, fmt.Errorf("open directory: %w", err)
		}
	}
	resolved, err := u.view.resolve(dirs)
	if err != nil {
		return nil, err
	}
	return u.openDir(resolved)
}

// openDir is parent for a path that is resolved.
func (u *unpack) openDir(path []string) (*openedDir, error) {
	name := strings.Join(path, "/")
	fd, err := openBelow(u.view.layers[0], dotted(name))
	if missing(err) {
		fd, err = u.makeDirs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", name, err)
	}
	return u.keep(fd, name), nil
}

// missing says whether a directory is not there, or something else in its place.
func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// keep makes fd the directory that stays open.
func (u *unpack) keep(fd int, path string) *openedDir {
	closeDir(u.dir.fd)
	u.dir = openedDir{fd: fd, path: path}
	return &u.dir
}

// makeDirs makes the directories on a resolved path that this layer lacks, and
// opens the last one.
func (u *unpack) makeDirs(path []string) (int, error) {
	dir, err := openDir(u.view.layers[0], ".")
	for i, name := range path {
		if err != nil {
			return -1, err
		}
		var next int
		next, err = openDir(dir, name)
		if missing(err) {
			next, err = u.makeDir(dir, path[:i+1])
		}
		closeDir(dir)
		dir = next
	}
	return dir, err
}

// makeDir makes the directory at path, in its open parent, although no entry
// describes it (yet).
func (u *unpack) makeDir(parent int, path []string) (int, error) {
	if err := u.count(0); err != nil {
		return -1, err
	}
	name := path[len(path)-1]
	dir := &openedDir{fd: parent, path: strings.Join(path[:len(path)-1], "/")}
	fresh, err := u.mkdir(dir, name)
	if err != nil {
		return -1, err
	}
	full := join(dir.path, name)
	u.implied[full] = fresh
	if err := u.view.keep(len(full)); err != nil {
		return -1, err
	}
	return openDir(parent, name)
}

// mkdir makes a directory. One that stands there already is used; anything else
// goes. If there was nothing of this layer, fresh is true.
func (u *unpack) mkdir(dir *openedDir, name string) (fresh bool, err error) {
	err = unix.Mkdirat(dir.fd, name, 0o700)
	if errors.Is(err, unix.EEXIST) {
		return false, u.replaceByDir(dir, name)
	}
	if err != nil {
		return false, fmt.Errorf("mkdir %q: %w", name, err)
	}
	return true, nil
}

// replaceByDir makes a directory of what stands at name, if it is none.
func (u *unpack) replaceByDir(dir *openedDir, name string) error {
	fd, err := openDir(dir.fd, name)
	if !errors.Is(err, unix.ENOTDIR) {
		closeDir(fd)
		return err
	}
	if err := u.remove(dir, name); err != nil {
		return err
	}
	if err := unix.Mkdirat(dir.fd, name, 0o700); err != nil {
		return fmt.Errorf("mkdir %q: %w", name, err)
	}
	if fd, err = openDir(dir.fd, name); err != nil {
		return fmt.Errorf("open %q: %w", name, err)
	}
	defer closeDir(fd)
	// What stood there, a whiteout or a file, hid a directory below, if there
	// is one. The new directory must not bring it back.
	return u.setOpaque(fd, join(dir.path, name))
}

// dotted is the path as the kernel wants it, with "." for the root.
func dotted(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// join is path.Join for paths that need no cleaning.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
