// write.go: from a directory to a layer.
//
// Write is Apply backwards. The same directory always gives the same bytes, and
// so the same digest: entries are sorted, users are numbers, the header format
// is fixed. Given the upper directory of an overlay mount, which holds nothing
// but what changed, with whiteouts for what was deleted, it writes the layer
// that a "commit" makes.

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
	out := &writer{tar: tar.NewWriter(w), first: map[inodeID]string{}, buf: make([]byte, 256<<10)}
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
	first map[inodeID]string // first name of each file that has several
	buf   []byte
}

// inodeID is what two hard links have in common.
type inodeID struct{ dev, ino uint64 }

// directory writes the open directory and what is in it.
func (w *writer) directory(dir int, path string) error {
	if err := w.directoryEntry(dir, path); err != nil {
		return fmt.Errorf("pack %q: %w", dotted(path), err)
	}
	names, err := sortedNames(dir)
	if err != nil {
		return fmt.Errorf("pack %q: %w", dotted(path), err)
	}
	for _, name := range names {
		if err := w.file(dir, name, join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// sortedNames lists the open directory: whiteouts first, as the image-spec asks
// of layers (layer.md, "Whiteouts"), then the other files, each by name.
func sortedNames(dir int) ([]string, error) {
	names, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var whiteouts, files []string
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, fmt.Errorf("stat %q: %w", name, err)
		}
		if isWhiteout(&st) {
			whiteouts = append(whiteouts, name)
		} else {
			files = append(files, name)
		}
	}
	return append(whiteouts, files...), nil
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
	if err := checkWhole(dir); err != nil {
		return err
	}
	if err := w.header(n.header(dotted(path) + "/")); err != nil {
		return err
	}
	opaque, err := isOpaque(dir)
	if err != nil || !opaque {
		return err
	}
	return w.whiteout(join(path, opaqueWhiteout))
}

// file writes what name is in the open directory.
func (w *writer) file(dir int, name, path string) error {
	if strings.HasPrefix(name, whiteoutPrefix) {
		return fmt.Errorf("pack %q: in a layer, a name that begins with %q says that a file is deleted", path, whiteoutPrefix)
	}
	fd, err := openPath(dir, name)
	if err != nil {
		return fmt.Errorf("pack %q: open: %w", path, err)
	}
	defer closeDir(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("pack %q: stat: %w", path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		sub, err := openDir(fd, ".")
		if err != nil {
			return fmt.Errorf("pack %q: open: %w", path, err)
		}
		defer closeDir(sub)
		return w.directory(sub, path)
	}
	if err := w.leaf(fd, &st, path); err != nil {
		return fmt.Errorf("pack %q: %w", path, err)
	}
	return nil
}

// leaf writes a file that is no directory.
func (w *writer) leaf(fd int, st *unix.Stat_t, path string) error {
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFSOCK:
		return nil // no type of entry is a socket, see Write
	case isWhiteout(st):
		dir, name := split(path)
		return w.whiteout(join(dir, whiteoutPrefix+name))
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
	if err := checkWhole(fd); err != nil {
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
	return w.tar.WriteHeader(h)
}

// checkWhole refuses files of which overlayfs keeps a part in a lower layer.
func checkWhole(fd int) error {
	for _, name := range []string{"trusted.overlay.redirect", "trusted.overlay.metacopy"} {
		_, err := unix.Getxattr(procPath(fd), name, nil)
		switch {
		case err == nil:
			return fmt.Errorf("has %s: a part of it is in a lower layer", name)
		case !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("getxattr %q: %w", name, err)
		}
	}
	return nil
}
