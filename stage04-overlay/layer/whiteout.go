// whiteout.go: how a layer says that something is gone.
//
// In the tar file: an empty file whose name begins with ".wh." (image-spec
// layer.md, "Whiteouts"). In the directory: what overlayfs takes for it, see
// form.go. The two languages differ in three points that this file is about:
//
//   - A tar whiteout hits lower layers only. If this layer has a file of that
//     name, the file hides the lower one by itself; a directory must be made
//     opaque, or overlayfs would merge the two.
//   - A tar whiteout may hit nothing. The device may not (see settle.go).
//   - The root directory of a layer may have an opaque whiteout. Overlayfs does
//     not look at the attribute there, so each name becomes a whiteout.

package layer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
)

// setOpaque makes the open directory hide what lower layers have in it.
func (u *unpack) setOpaque(dir int, path string) error {
	if err := u.view.form.set(dir, "opaque", opaqueAll); err != nil {
		return err
	}
	u.opaques = append(u.opaques, path)
	return u.view.keep(len(path))
}

// whiteout handles the entry ".wh.NAME" in the directory that dirs name.
func (u *unpack) whiteout(dirs []string, name string) error {
	path, err := u.view.resolve(dirs)
	if errors.Is(err, unix.ENOTDIR) {
		return nil // no directory, so nothing is in it
	}
	if err != nil {
		return err
	}
	return u.hide(append(path, name))
}

// hide makes sure that what lower layers show at path is not seen.
func (u *unpack) hide(path []string) error {
	u.view.steps = maxSteps
	o, ended, err := u.view.look(0, path)
	o.close()
	full := strings.Join(path, "/")
	switch {
	case err != nil || ended:
		return err
	case o != nil && o.kind() == unix.S_IFDIR:
		u.hidden[full] = true
		return u.markOpaque(path)
	case o != nil && !u.copied[full]:
		return nil // a whiteout does not hit files of its own layer
	}
	dir, err := u.openDir(path[:len(path)-1])
	if err != nil {
		return err
	}
	name := path[len(path)-1]
	if o != nil {
		if err := u.remove(dir, name); err != nil {
			return err
		}
	}
	if err := u.view.form.makeWhiteout(dir.fd, name); err != nil {
		return err
	}
	u.whiteouts = append(u.whiteouts, path)
	return errors.Join(u.count(0), u.view.keep(len(full)+16*len(path)))
}

// opaque handles the entry ".wh..wh..opq" in the directory that dirs name.
func (u *unpack) opaque(dirs []string) error {
	path, err := u.view.resolve(dirs)
	if errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(path) == 0 {
		u.view.opaque = true
		return nil
	}
	o, ended, err := u.view.look(0, path)
	o.close()
	if ended || err != nil {
		return err // the directory is hidden already
	}
	return u.markOpaque(path)
}

// markOpaque makes a directory of this layer opaque. It may stand behind other
// entries of the directory: the mark does not touch them.
func (u *unpack) markOpaque(path []string) error {
	dir, err := u.openDir(path)
	if err != nil {
		return err
	}
	return u.setOpaque(dir.fd, dir.path)
}

// readNames lists the open directory.
func readNames(dir int) ([]string, error) {
	fd, err := openDir(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	return f.Readdirnames(-1)
}
