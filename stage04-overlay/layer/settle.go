// settle.go: what waits for the end of the archive, and for the layers below.
//
// ".wh..wh..opq" applies first wherever it stands, so what lower layers show is
// known only when all entries are read. Whiteouts and opaque marks are made as
// they come; those that hide nothing go again here, for in a directory that is
// not merged with another one a whiteout shows, as a broken entry.
//
// The attributes of directories come last of all. Every file made in one changes
// its times; and what is made in one may inherit its group (set-group-ID, man 7
// inode) or its access control list (man 5 acl). So all are private to root, and
// plain, as long as the layer is unpacked.

package layer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// finish does what had to wait for the last entry and for the layers below.
func (u *unpack) finish() error {
	for _, step := range []struct {
		of string
		do func() error
	}{
		{"directories without an entry", u.likeBelow},
		{"opaque whiteout of the root", u.hideRoot},
		{"whiteouts", u.sweepWhiteouts},
		{"files copied up", u.sweepCopied},
		{"opaque directories", u.sweepOpaque},
		{"directories of whiteouts", u.prune},
		{"attributes of directories", u.setDirs},
	} {
		u.view.steps = maxSteps
		if err := step.do(); err != nil {
			return fmt.Errorf("%s of the layer: %w", step.of, err)
		}
	}
	return nil
}

// likeBelow gives directories that no entry describes the attributes that they
// have below: of merged directories overlayfs shows the topmost one's. A new one
// is root's, 0755 and of 1970, so that the same layer always gives the same.
func (u *unpack) likeBelow() error {
	for path, mayBeBelow := range u.implied {
		if err := u.imply(path, mayBeBelow); err != nil {
			return fmt.Errorf("directory %q: %w", dotted(path), err)
		}
	}
	return nil
}

// imply is likeBelow for one directory.
func (u *unpack) imply(path string, mayBeBelow bool) (err error) {
	u.view.steps = maxSteps
	n := inode{mode: unix.S_IFDIR | 0o755}
	var o *object
	switch {
	case path == "": // the root is never hidden, only what is in it
		o, err = u.view.search(nil, 1, len(u.view.layers))
	case mayBeBelow:
		o, err = u.view.below(components(path))
	}
	if err != nil {
		return err
	}
	if o != nil {
		defer o.close()
		if o.kind() == unix.S_IFDIR {
			if n, err = ofFile(o.fd, &o.stat); err != nil {
				return err
			}
		}
	}
	u.dirs[path] = n
	return nil
}

// hideRoot hides everything that lower layers have in the root directory, if
// the layer says so. Overlayfs does not look for the mark there.
func (u *unpack) hideRoot() error {
	if !u.view.opaque {
		return nil
	}
	u.view.opaque = false
	for _, root := range u.view.layers[1:] {
		names, err := readNames(root)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := u.hide([]string{name}); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepWhiteouts removes whiteouts that hide nothing.
func (u *unpack) sweepWhiteouts() error {
	for _, path := range u.whiteouts {
		if err := u.sweep(path, false); err != nil {
			return err
		}
	}
	return nil
}

// sweepCopied removes files that were copied up for a hard link out of
// directories that are opaque. The link stays.
func (u *unpack) sweepCopied() error {
	for path := range u.copied {
		if err := u.sweep(components(path), true); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the whiteout, or the file, at path of this layer, if lower
// layers show nothing of that name.
func (u *unpack) sweep(path []string, file bool) error {
	u.view.steps = maxSteps
	below, err := u.view.below(path)
	below.close()
	if below != nil || err != nil {
		return err
	}
	o, _, err := u.view.look(0, path)
	o.close()
	if o != nil && !file || err != nil {
		return err // a file has replaced the whiteout
	}
	dir, _, err := u.view.descend(0, path[:len(path)-1])
	if dir < 0 || err != nil {
		return err
	}
	defer closeDir(dir)
	name := path[len(path)-1]
	switch err := unix.Unlinkat(dir, name, 0); {
	case err == nil:
		u.done.Inodes--
	case !errors.Is(err, unix.ENOENT):
		return fmt.Errorf("remove %q: %w", name, err)
	}
	return nil
}

// sweepOpaque takes the mark from directories that hide no other one.
func (u *unpack) sweepOpaque() error {
	for _, path := range u.opaques {
		u.view.steps = maxSteps
		o, err := u.view.below(components(path))
		if err != nil {
			return err
		}
		if o != nil {
			o.close()
			if o.kind() == unix.S_IFDIR {
				continue
			}
		}
		fd, err := openBelow(u.view.layers[0], path)
		if missing(err) {
			continue // it was replaced
		}
		if err != nil {
			return fmt.Errorf("open directory %q: %w", path, err)
		}
		err = unix.Fremovexattr(fd, string(u.view.form)+"opaque")
		closeDir(fd)
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("remove the mark of directory %q: %w", path, err)
		}
	}
	return nil
}

// prune removes directories that were made only for whiteouts which are gone.
// If one has a whiteout itself, there is room for it now.
func (u *unpack) prune() error {
	var paths []string
	for path, mayBeBelow := range u.implied {
		if path != "" && mayBeBelow {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return len(b) - len(a) }) // what is in a directory before it
	for _, path := range paths {
		if err := u.pruneDir(path); err != nil {
			return fmt.Errorf("directory %q: %w", path, err)
		}
	}
	return nil
}

// pruneDir removes a directory unless there is something in it, or it hides
// something by being there.
func (u *unpack) pruneDir(path string) error {
	parent, name := split(path)
	dir, err := openBelow(u.view.layers[0], dotted(parent))
	if err != nil {
		return err
	}
	defer closeDir(dir)
	fd, err := openDir(dir, name)
	if err != nil {
		return err
	}
	opaque, err := u.view.form.isOpaque(fd)
	closeDir(fd)
	if err != nil || opaque && !u.hidden[path] {
		return err
	}
	switch err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); {
	case errors.Is(err, unix.ENOTEMPTY):
		return nil
	case err != nil:
		return err
	}
	delete(u.dirs, path)
	if opaque {
		return u.view.form.makeWhiteout(dir, name)
	}
	u.done.Inodes--
	return nil
}

// setDirs gives all directories their attributes.
func (u *unpack) setDirs() error {
	for path, n := range u.dirs {
		fd, err := openBelow(u.view.layers[0], dotted(path))
		if err != nil {
			return fmt.Errorf("open directory %q: %w", path, err)
		}
		err = errors.Join(n.setOwner(fd), n.setTimes(fd))
		closeDir(fd)
		if err != nil {
			return fmt.Errorf("directory %q: %w", path, err)
		}
	}
	return nil
}

// split cuts a path before its last component.
func split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
