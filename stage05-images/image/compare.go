package image

// Comparing two directory trees: how Check knows that an unpacked layer is complete.
// It unpacks the layer's blob a second time, beside it, and then the two must be the
// same in all that a container could see: names, kinds, permissions, owners, sizes,
// times, device numbers, numbers of hard links, symbolic links' targets, extended
// attributes and contents. Nothing has to be written down beforehand, and nothing
// that was written down can be wrong.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// sameTree says how two directories differ, or returns nil. A difference is an
// errDifferent; other errors say that the comparison failed. Both lie in folders
// that only we may enter, so that paths are safe to use; links are not followed.
func sameTree(a, b string) error {
	return (&trees{a: a, b: b}).same(".")
}

// trees are two directories that are compared.
type trees struct {
	a, b string
	p, q [64 << 10]byte // for contents and attributes: XATTR_LIST_MAX, XATTR_SIZE_MAX
}

// errDifferent is the kind of what sameTree finds.
var errDifferent = errors.New("is not what its blob unpacks to")

// different says what is different.
func different(name, what string) error { return fmt.Errorf("%q %w: %s", name, errDifferent, what) }

// same compares the files of one name, and what is below them.
func (t *trees) same(name string) error {
	a, b := filepath.Join(t.a, name), filepath.Join(t.b, name)
	if err := t.sameFile(a, b, name); err != nil {
		return err
	}
	info, err := os.Lstat(a)
	if err != nil || !info.IsDir() {
		return err
	}
	in, err := names(a)
	if err != nil {
		return err
	}
	others, err := names(b)
	if err != nil {
		return err
	}
	for i := range max(len(in), len(others)) { // both are sorted
		if i >= len(others) || i < len(in) && in[i] < others[i] {
			return different(filepath.Join(name, in[i]), "it should not be there")
		}
		if i >= len(in) || in[i] > others[i] {
			return different(filepath.Join(name, others[i]), "it is missing")
		}
		if err := t.same(filepath.Join(name, in[i])); err != nil {
			return err
		}
	}
	// Last, since what is different in a directory has mostly changed its time, too.
	other, err := os.Lstat(b)
	if err == nil && !info.ModTime().Equal(other.ModTime()) {
		err = different(name, "its time of change is another")
	}
	return err
}

// names lists a directory, sorted.
func names(dir string) (all []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, err
}

// sameFile compares two files, and not what is below them.
func (t *trees) sameFile(a, b, name string) error {
	var x, y unix.Stat_t
	if err := errors.Join(unix.Lstat(a, &x), unix.Lstat(b, &y)); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	switch {
	case x.Mode != y.Mode:
		return different(name, fmt.Sprintf("its mode is %#o and not %#o", x.Mode, y.Mode))
	case x.Uid != y.Uid || x.Gid != y.Gid:
		return different(name, fmt.Sprintf("its owner is %d:%d and not %d:%d", x.Uid, x.Gid, y.Uid, y.Gid))
	case x.Rdev != y.Rdev:
		return different(name, "it is another device")
	}
	switch kind := x.Mode & unix.S_IFMT; {
	case kind == unix.S_IFREG && x.Size != y.Size:
		return different(name, fmt.Sprintf("its size is %d and not %d", x.Size, y.Size))
	case kind != unix.S_IFDIR && x.Nlink != y.Nlink:
		return different(name, fmt.Sprintf("it has %d names and not %d", x.Nlink, y.Nlink))
	}
	err := t.sameXattrs(a, b, name)
	switch {
	case err != nil:
		return err
	case x.Mode&unix.S_IFMT == unix.S_IFLNK:
		err = sameLink(a, b, name)
	case x.Mode&unix.S_IFMT == unix.S_IFREG:
		err = t.sameContent(a, b, name)
	}
	if err == nil && x.Mtim != y.Mtim && x.Mode&unix.S_IFMT != unix.S_IFDIR && !isWhiteout(x) {
		err = different(name, "its time of change is another")
	}
	return err
}

// isWhiteout tells whether a file is overlayfs's sign for one that was deleted. When
// it was made is in no layer.
func isWhiteout(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// sameLink compares two symbolic links: readlink(2).
func sameLink(a, b, name string) error {
	x, first := os.Readlink(a)
	y, second := os.Readlink(b)
	if err := errors.Join(first, second); err != nil {
		return err
	}
	if x != y {
		return different(name, fmt.Sprintf("it points to %q and not to %q", x, y))
	}
	return nil
}

// sameXattrs compares extended attributes: xattr(7).
func (t *trees) sameXattrs(a, b, name string) error {
	x, first := t.xattrs(a)
	y, second := t.xattrs(b)
	if err := errors.Join(first, second); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if !slices.Equal(x, y) {
		return different(name, "its extended attributes are others")
	}
	return nil
}

// xattrs lists the attributes of a file as name=value, sorted.
func (t *trees) xattrs(file string) (all []string, err error) {
	n, err := unix.Llistxattr(file, t.p[:])
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || n == 0 {
		return nil, err
	}
	for key := range strings.SplitSeq(strings.TrimSuffix(string(t.p[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(file, key, t.q[:])
		if err != nil {
			return nil, err
		}
		all = append(all, key+"="+string(t.q[:n]))
	}
	slices.Sort(all)
	return all, nil
}

// sameContent compares two regular files of the same size.
func (t *trees) sameContent(a, b, name string) error {
	x, err := os.Open(a)
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return err
	}
	defer y.Close()
	for {
		n, first := io.ReadFull(x, t.p[:])
		m, second := io.ReadFull(y, t.q[:])
		if n != m || !bytes.Equal(t.p[:n], t.q[:m]) {
			return different(name, "its content is another")
		}
		if errors.Is(first, io.EOF) || errors.Is(first, io.ErrUnexpectedEOF) {
			return nil
		}
		if err := errors.Join(first, second); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
}
