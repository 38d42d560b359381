// write.go: from a directory to a layer.
//
// Write is Apply backwards. The same directory always gives the same bytes, and
// so the same digest: entries are sorted, users are numbers, the header format
// is fixed, with PAX records only where an old header does not do. Given the
// upper directory of an overlay mount, which holds nothing but what changed, with
// whiteouts for what was deleted, it writes the layer that a "commit" makes; of
// any other directory, the first layer of an image. What overlayfs has written
// down for itself, where a file was copied up from and so on, stays out.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// WriteOption changes what Write does.
type WriteOption func(*writer)

// UserXattr reads overlayfs's attributes as user.overlay.*: for the upper
// directory of a mount with the option userxattr. In any other directory they
// are nothing but what somebody has called so, and are left out.
func UserXattr() WriteOption {
	return func(w *writer) { w.form = userForm }
}

// Owner gives every entry the same owner: who packs a directory of his own is
// nobody in the image.
func Owner(uid, gid int) WriteOption {
	return func(w *writer) { w.owner = &owner{uid, gid} }
}

// FixedTime gives every entry the same time of change, for layers that are to
// be the same whenever they are built.
func FixedTime(t time.Time) WriteOption {
	return func(w *writer) { w.mtime = &t }
}

// Write writes the directory dir as an uncompressed layer. Overlayfs's
// whiteouts and opaque directories become ".wh." entries. Sockets are left out:
// tar has no type for them, and without its process a socket is nothing. Nobody
// should write to dir meanwhile; a file that changes size is an error.
//
// Directories that an overlay mount made with redirect_dir=on or metacopy=on
// say "the rest is over there", which a layer cannot: they are an error.
func Write(w io.Writer, dir string, options ...WriteOption) error {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open layer directory %q: %w", dir, err)
	}
	defer closeDir(root)
	out := &writer{tar: tar.NewWriter(w), form: trustedForm, first: map[inodeID]string{}, buf: make([]byte, bufferSize)}
	for _, option := range options {
		option(out)
	}
	if err := out.directory(root, ""); err != nil {
		return err
	}
	if err := out.tar.Close(); err != nil {
		return fmt.Errorf("write the end of the layer: %w", err)
	}
	return nil
}

// writer is one layer being written.
type writer struct {
	tar   *tar.Writer
	mtime *time.Time
	owner *owner
	form  form
	first map[inodeID]string // first name of each file that has several
	buf   []byte
}

// owner is who a file belongs to.
type owner struct{ uid, gid int }

// inodeID is what two hard links have in common.
type inodeID struct{ dev, ino uint64 }

// directory writes the open directory and what is in it: whiteouts first, as
// the image-spec asks of layers (layer.md, "Whiteouts"), then the other files,
// each by name.
func (w *writer) directory(dir int, path string) error {
	if err := w.directoryEntry(dir, path); err != nil {
		return fmt.Errorf("pack %q: %w", dotted(path), err)
	}
	whiteouts, files, err := w.names(dir, path)
	if err != nil {
		return err
	}
	for _, name := range whiteouts {
		if err := w.whiteout(join(path, whiteoutPrefix+name)); err != nil {
			return fmt.Errorf("pack %q: %w", join(path, name), err)
		}
	}
	for _, name := range files {
		if err := w.file(dir, name, join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// names lists the open directory, sorted.
func (w *writer) names(dir int, path string) (whiteouts, files []string, err error) {
	names, err := readNames(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("pack %q: %w", dotted(path), err)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, whiteoutPrefix) {
			return nil, nil, fmt.Errorf("pack %q: in a layer, a name that begins with %q says that a file is deleted",
				join(path, name), whiteoutPrefix)
		}
		hidden, err := w.isWhiteout(dir, name)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("pack %q: %w", join(path, name), err)
		case hidden:
			whiteouts = append(whiteouts, name)
		default:
			files = append(files, name)
		}
	}
	return whiteouts, files, nil
}

// isWhiteout says whether name in dir is one. It opens the file only if it may be.
func (w *writer) isWhiteout(dir int, name string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, fmt.Errorf("stat: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > 0 {
		return isDeviceWhiteout(st.Mode, st.Rdev), nil
	}
	fd, err := openPath(dir, name)
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	defer closeDir(fd)
	return w.form.isWhiteout(fd, &st)
}

// directoryEntry writes the entry of the directory itself and, if it is opaque,
// the whiteout that says so.
func (w *writer) directoryEntry(dir int, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	n, err := ofFile(dir, &st)
	if err != nil {
		return err
	}
	if err := w.checkWhole(dir); err != nil {
		return err
	}
	if err := w.header(n.header(dotted(path) + "/")); err != nil {
		return err
	}
	opaque, err := w.form.isOpaque(dir)
	if err != nil || !opaque {
		return err
	}
	return w.whiteout(join(path, opaqueWhiteout))
}

// file writes what name is in the open directory.
func (w *writer) file(dir int, name, path string) error {
	var st unix.Stat_t
	fd, err := openPath(dir, name)
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		closeDir(fd) // one descriptor for each level is enough
		if fd, err = openDir(dir, name); err == nil {
			defer closeDir(fd)
			return w.directory(fd, path)
		}
	}
	if err != nil {
		closeDir(fd)
		return fmt.Errorf("pack %q: open: %w", path, err)
	}
	defer closeDir(fd)
	if err := w.leaf(fd, &st, path); err != nil {
		return fmt.Errorf("pack %q: %w", path, err)
	}
	return nil
}

// leaf writes a file that is no directory.
func (w *writer) leaf(fd int, st *unix.Stat_t, path string) error {
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		return nil // no type of entry is a socket, see Write
	}
	n, err := ofFile(fd, st)
	if err != nil {
		return err
	}
	h := n.header(path)
	id := inodeID{st.Dev, st.Ino}
	if first, ok := w.first[id]; ok {
		h.Typeflag, h.Linkname, h.Size, h.PAXRecords = tar.TypeLink, first, 0, nil
		return w.header(h)
	}
	if st.Nlink > 1 {
		w.first[id] = path
	}
	if err := w.checkWhole(fd); err != nil {
		return err
	}
	if err := w.header(h); err != nil || n.kind() != unix.S_IFREG {
		return err
	}
	return w.content(fd, n.size)
}

// content writes the bytes of a regular file.
func (w *writer) content(fd int, size int64) error {
	f, err := os.Open(procPath(fd))
	if err != nil {
		return err
	}
	defer f.Close()
	// Not f itself: io.CopyBuffer would leave the buffer aside for its WriteTo.
	n, err := io.CopyBuffer(w.tar, struct{ io.Reader }{f}, w.buf)
	switch {
	case errors.Is(err, tar.ErrWriteTooLong), err == nil && n != size:
		return fmt.Errorf("the file has changed its size, from %d bytes", size)
	case err != nil:
		return fmt.Errorf("copy content: %w", err)
	}
	return nil
}

// whiteout writes a whiteout, an empty file of 1970 and of nobody in particular.
func (w *writer) whiteout(path string) error {
	n := inode{mode: unix.S_IFREG}
	return w.header(n.header(path))
}

// header writes an entry's header.
func (w *writer) header(h *tar.Header) error {
	if w.mtime != nil {
		h.ModTime = *w.mtime
	}
	if w.owner != nil {
		h.Uid, h.Gid = w.owner.uid, w.owner.gid
	}
	return w.tar.WriteHeader(h)
}

// checkWhole refuses files of which overlayfs keeps a part in a lower layer.
func (w *writer) checkWhole(fd int) error {
	for _, name := range []string{"redirect", "metacopy"} {
		_, found, err := w.form.get(procPath(fd), name)
		if err != nil {
			return err
		}
		if found {
			return fmt.Errorf("has %s%s: a part of it is in a lower layer", w.form, name)
		}
	}
	return nil
}
