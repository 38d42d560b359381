// unpack.go: from tar entries to files.
//
// The order of events for one file matters, and is: find the directory by
// descriptor, clear the way if an earlier entry stands in it, create with
// O_EXCL so that nothing can be followed or reused, write, then set the
// attributes (see inode.setOwner). What has to wait for the end of the archive
// is in settle.go.
//
// One directory stays open from entry to entry, since tar files go directory
// by directory. Nothing is flushed to disk: who wants the layer to survive a
// power cut says syncfs once, at the end.

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// bufferSize is for the contents of files.
const bufferSize = 256 << 10

// unpack is one layer being unpacked.
type unpack struct {
	view view
	max  limits
	done Summary

	dir       openedDir
	dirs      map[string]inode // the directories in this layer, by path
	implied   map[string]bool  // the ones without an entry; true: lower layers may have them, too
	hidden    map[string]bool  // directories that a whiteout came for
	copied    map[string]bool  // files that are here only because a hard link leads to them
	whiteouts [][]string       // paths of the whiteouts made
	opaques   []string         // and of the directories made opaque
	buf       []byte
}

// newUnpack opens the directories and prepares the layer's own.
func newUnpack(dir string, o Options) (*unpack, error) {
	u := &unpack{
		max:     limits{limit(o.MaxBytes, DefaultMaxBytes), limit(o.MaxInodes, DefaultMaxInodes)},
		dir:     openedDir{fd: -1},
		dirs:    map[string]inode{},
		implied: map[string]bool{"": true},
		hidden:  map[string]bool{},
		copied:  map[string]bool{},
		buf:     make([]byte, bufferSize),
	}
	u.view.form, u.view.maxKept = formOf(o.UserXattr), limit(o.MaxMemory, DefaultMaxMemory)
	err := u.openLayers(append([]string{dir}, o.Lower...))
	if err == nil {
		err = u.plainRoot()
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

// plainRoot makes the layer's directory one from which nothing is inherited.
// It gets its attributes in the end, also if the archive has no entry for it.
func (u *unpack) plainRoot() error {
	root := u.view.layers[0]
	err := clearXattrs(root)
	if err == nil {
		n := inode{mode: unix.S_IFDIR | 0o700, uid: os.Geteuid(), gid: os.Getegid()}
		err = n.setOwner(root)
	}
	if err != nil {
		return fmt.Errorf("directory of the layer: %w", err)
	}
	return nil
}

// openLayers opens the directories of layers, this one's first.
func (u *unpack) openLayers(dirs []string) error {
	for _, path := range dirs {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open layer directory %q: %w", path, err)
		}
		u.view.layers = append(u.view.layers, fd)
	}
	return nil
}

// close closes the directories.
func (u *unpack) close() {
	closeDir(u.dir.fd)
	u.dir.fd = -1
	for _, fd := range u.view.layers {
		closeDir(fd)
	}
	u.view.layers = nil
}

// entry unpacks one entry of the archive.
func (u *unpack) entry(h *tar.Header, archive *tar.Reader) error {
	u.view.steps = maxSteps
	names := components(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // comments, as of git archive; no file
	}
	if len(names) == 0 {
		return u.root(h)
	}
	dirs, name := names[:len(names)-1], names[len(names)-1]
	if err := checkNames(names); err != nil {
		return err
	}
	if name == opaqueWhiteout {
		return u.opaque(dirs)
	}
	if hidden, ok := strings.CutPrefix(name, whiteoutPrefix); ok {
		return u.whiteout(dirs, hidden)
	}
	if h.Typeflag == tar.TypeLink {
		return u.hardLink(dirs, name, h.Linkname)
	}
	n, err := ofHeader(h)
	if err != nil {
		return err
	}
	if u.view.form == userForm {
		u.unprivileged(&n)
	}
	dir, err := u.parent(dirs)
	if err != nil {
		return err
	}
	return u.put(dir, name, &n, content{archive, isSparse(h)})
}

// unprivileged leaves out what only root can make. A device becomes an empty
// file, as with others who unpack without root: it hides what is below.
func (u *unpack) unprivileged(n *inode) {
	if kind := n.kind(); kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		n.mode = unix.S_IFREG | n.mode&0o7777
		u.done.Devices++
	}
	n.xattrs = slices.DeleteFunc(n.xattrs, func(x xattr) bool { return strings.HasPrefix(x.name, "trusted.") })
}

// checkNames refuses names that cannot be a file's. Names that begin with
// ".wh." are reserved: a layer could not say that such a file is deleted.
func checkNames(names []string) error {
	last := len(names) - 1
	switch name := names[last]; name {
	case whiteoutPrefix:
		return fmt.Errorf("whiteout of nothing: %w", unix.EINVAL)
	case whiteoutPrefix + ".", whiteoutPrefix + "..":
		return fmt.Errorf("whiteout of %q: %w", name[len(whiteoutPrefix):], unix.EINVAL)
	case "..":
		return fmt.Errorf("the name ends in %q: %w", name, unix.EINVAL)
	}
	for _, name := range names[:last] {
		if strings.HasPrefix(name, whiteoutPrefix) {
			return fmt.Errorf("directory name %q is reserved for whiteouts: %w", name, unix.EINVAL)
		}
	}
	return checkDepth(names)
}

// root handles an entry for the root directory itself, "./".
func (u *unpack) root(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("the root of a layer is a directory, not a file: %w", unix.ENOTDIR)
	}
	n, err := ofHeader(h)
	if err != nil {
		return err
	}
	delete(u.implied, "")
	u.dirs[""] = n
	return u.view.keep(n.xattrSize())
}

// content is what goes into a regular file.
type content struct {
	r     io.Reader
	holes bool // it is worth looking for holes
}

// isSparse says whether the entry is a sparse file, of which archive/tar gives
// the holes as zeros: GNU tar's old type of entry, or its PAX records.
func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	_, v0 := h.PAXRecords["GNU.sparse.size"] // versions 0.0 and 0.1
	_, v1 := h.PAXRecords["GNU.sparse.realsize"]
	return v0 || v1
}

// put makes one file with all that belongs to it.
func (u *unpack) put(dir *openedDir, name string, n *inode, c content) (err error) {
	if err := u.count(n.size); err != nil {
		return err
	}
	if n.kind() == unix.S_IFDIR {
		if _, err := u.mkdir(dir, name); err != nil {
			return err
		}
		path := join(dir.path, name)
		delete(u.implied, path)
		u.dirs[path] = *n
		return u.view.keep(len(path) + n.xattrSize())
	}
	fd, err := u.create(dir, name, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if n.kind() == unix.S_IFREG {
		if err := copyContent(fd, c.r, n.size, u.buf, c.holes); err != nil {
			return err
		}
	}
	if err := n.setOwner(fd); err != nil {
		return err
	}
	return n.setTimes(fd)
}

// create makes the file and returns a descriptor of it; what stands in the way
// goes.
func (u *unpack) create(dir *openedDir, name string, n *inode) (int, error) {
	fd, err := n.create(dir.fd, name)
	if !errors.Is(err, unix.EEXIST) {
		return fd, err
	}
	if err := u.remove(dir, name); err != nil {
		return -1, err
	}
	return n.create(dir.fd, name)
}

// remove removes what an earlier entry of this layer made at name.
func (u *unpack) remove(dir *openedDir, name string) error {
	path := join(dir.path, name)
	err := unix.Unlinkat(dir.fd, name, 0)
	if errors.Is(err, unix.EISDIR) {
		u.dir.gone = true
		err = u.removeDir(dir.fd, name, path)
	}
	if err == nil {
		err = u.forget(path)
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	return nil
}

// forget forgets what is known of a file that is removed.
func (u *unpack) forget(path string) error {
	delete(u.dirs, path)
	delete(u.implied, path)
	delete(u.copied, path)
	if u.view.open != nil && u.view.open.links[path] {
		return fmt.Errorf("%w: it replaces a hard link", ErrInOrder)
	}
	return nil
}

// removeDir removes a directory of this layer with all that is in it.
func (u *unpack) removeDir(parent int, name, path string) error {
	dir, err := openDir(parent, name)
	if err != nil {
		return err
	}
	defer closeDir(dir)
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := unix.Unlinkat(dir, name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = u.removeDir(dir, name, path+"/"+name)
		}
		if err == nil {
			err = u.forget(path + "/" + name)
		}
		if err != nil {
			return err
		}
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}
