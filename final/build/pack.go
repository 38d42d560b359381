package build

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/inroot"
)

// From files to the layer of a COPY: each file is one entry of a tar file, under the
// name that it has in the image. The same walk gives the sum by which the step is
// found in the cache: of names, attributes and contents, and not of times, which
// differ in every fresh copy of a repository.

// packer packs what a COPY copies.
type packer struct {
	origin *origin
	owner  *owner     // of all files; nil: as they are
	chown  *owner     // the same, of what an archive holds
	perm   *int64     // of all files but links; nil: as they are
	time   *time.Time // of all files; nil: as they are
	tar    *tar.Writer
	hash   hash.Hash
	links  map[inode]string // the first name of each file that has several

	// In the image:
	view   *view  // what is there; nil: only the sum counts
	dest   string // the destination
	dir    string // the directory that the files come into
	rename string // what a single file is called there, if not as before
	add    bool   // archives are unpacked
}

// inode is what two names of one file have in common.
type inode struct {
	major, minor uint32
	number       uint64
}

func newPacker(w io.Writer, t *time.Time, o *origin) *packer {
	return &packer{origin: o, owner: o.owner, time: t, tar: tar.NewWriter(w)}
}

// to is a packer that writes to w, for an image.
func (p *packer) to(w io.Writer, v *view, add bool, dest string) *packer {
	q := *p
	q.tar, q.view, q.add, q.dest, q.dir = tar.NewWriter(w), v, add, dest, dest
	return &q
}

// parents writes the directories on the way to a name that the image does not have,
// and with self the name's own.
func (p *packer) parents(name string, self bool) error {
	if !self {
		name = path.Dir(name)
	}
	if mode, err := p.view.mode(name, unix.O_NOFOLLOW); mode != 0 || err != nil || name == "/" {
		return err
	}
	if err := p.parents(name, false); err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeDir, Name: name[1:] + "/", Mode: 0o755, ModTime: time.Now()}
	p.adjust(h, p.owner)
	if p.perm != nil {
		h.Mode = 0o755
	}
	return p.tar.WriteHeader(h)
}

// sum packs the sources, and returns what they hash to.
func (p *packer) sum(ctx context.Context, sources []found) (string, error) {
	p.hash, p.links = sha256.New(), map[inode]string{}
	for _, source := range sources {
		handle, err := p.origin.root.Lookup(source.name, unix.O_PATH)
		if err != nil {
			return "", err
		}
		rel := "."
		if !source.dir {
			rel = path.Base(source.name)
		}
		if err := errors.Join(p.file(ctx, handle, source.name, rel), handle.Close()); err != nil {
			return "", fmt.Errorf("%q of %s: %w", source.name, p.origin.what, err)
		}
	}
	return fmt.Sprintf("%x", p.hash.Sum(nil)), nil
}

// file packs a file, and what is below it. name is in the origin, rel in the
// destination.
func (p *packer) file(ctx context.Context, handle *os.File, name, rel string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ignored, all, err := p.origin.ignored.is(name)
	if all || err != nil {
		return err
	}
	st, err := inroot.Statx(handle)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if !ignored { // otherwise something in it may not be
			err = p.entry(handle, &st, rel)
		}
		if err != nil {
			return err
		}
		return p.below(ctx, handle, name, rel)
	}
	if ignored || st.Mode&unix.S_IFMT == unix.S_IFSOCK { // no type of entry is a socket
		return nil
	}
	return p.entry(handle, &st, rel)
}

// below packs what is in a directory.
func (p *packer) below(ctx context.Context, handle *os.File, name, rel string) error {
	dir, err := inroot.Reopen(handle, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, child := range names {
		h, err := inroot.Handle(dir, child)
		if err == nil {
			err = errors.Join(p.file(ctx, h, path.Join(name, child), path.Join(rel, child)), h.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry packs one file.
func (p *packer) entry(handle *os.File, st *unix.Statx_t, rel string) error {
	h, err := p.header(handle, st, rel)
	if err != nil {
		return err
	}
	var content *os.File
	if h.Typeflag == tar.TypeReg {
		if content, err = inroot.Reopen(handle, unix.O_RDONLY); err != nil {
			return err
		}
		defer content.Close()
	}
	fmt.Fprintf(p.hash, "%q %c %o %d %d %d %q %d %d %q\n", rel, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname, h.Devmajor, h.Devminor, h.PAXRecords)
	if content != nil && p.add && !strings.Contains(rel, "/") {
		if archive, err := openArchive(content); err != nil || archive != nil {
			if err == nil {
				err = errors.Join(p.unpack(archive), archive.Close())
			}
			if err == nil {
				_, err = content.Seek(0, io.SeekStart)
			}
			if err == nil {
				_, err = io.Copy(p.hash, content)
			}
			return err
		}
	}
	if content == nil {
		return p.write(h, p.name(rel), nil)
	}
	return p.write(h, p.name(rel), io.TeeReader(content, p.hash))
}

// header is the entry of a file.
func (p *packer) header(handle *os.File, st *unix.Statx_t, rel string) (*tar.Header, error) {
	h := &tar.Header{
		Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtime.Sec, 0),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag = tar.TypeDir
	case unix.S_IFLNK:
		text, err := inroot.Readlink(handle)
		if err != nil {
			return nil, err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, text
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(st.Rdev_major), int64(st.Rdev_minor)
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(st.Size)
		id := inode{st.Dev_major, st.Dev_minor, st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, strings.TrimPrefix(p.name(first), "/")
		} else if st.Nlink > 1 {
			p.links[id] = rel
		}
	}
	p.adjust(h, p.owner)
	return h, p.attributes(handle, h)
}

// adjust sets what the instruction says of all files.
func (p *packer) adjust(h *tar.Header, o *owner) {
	if o != nil {
		h.Uid, h.Gid = o.uid, o.gid
	}
	if p.perm != nil && h.Typeflag != tar.TypeSymlink {
		h.Mode = *p.perm
	}
	if p.time != nil {
		h.ModTime = *p.time
	}
}

// xattrRecord is how a PAX header calls an extended attribute.
const xattrRecord = "SCHILY.xattr."

// attributes takes the extended attributes along that mean something elsewhere.
func (p *packer) attributes(handle *os.File, h *tar.Header) error {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return nil
	}
	all, err := inroot.Xattrs(handle)
	for name, value := range all {
		if name == "security.capability" || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[xattrRecord+name] = value
		}
	}
	return err
}

// name is the name in the image of what is rel in the destination.
func (p *packer) name(rel string) string {
	if p.rename != "" {
		rel = p.rename
	}
	return path.Join(p.dir, rel)
}

// write writes an entry, if the image can have it.
func (p *packer) write(h *tar.Header, name string, content io.Reader) error {
	if strings.HasPrefix(path.Base(name), ".wh.") {
		return fmt.Errorf("%q: in a layer such a name says that a file is deleted", name)
	}
	there, err := p.there(h, name)
	if err != nil {
		return err
	}
	if h.Name = strings.TrimPrefix(name, "/"); h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if !there {
		if err := p.tar.WriteHeader(h); err != nil {
			return err
		}
	}
	if content == nil {
		return nil
	}
	n, err := io.Copy(p.tar, content)
	if err == nil && n != h.Size {
		err = fmt.Errorf("the file has changed its size, from %d bytes", h.Size)
	}
	return err
}

// there tells whether the entry is left out: for the destination itself, and for a
// directory that the image has under a link. A file does not replace a directory,
// nor a directory a file.
func (p *packer) there(h *tar.Header, name string) (bool, error) {
	if p.view == nil {
		return false, nil
	}
	mode, err := p.view.mode(name, unix.O_NOFOLLOW)
	if err != nil || mode == 0 {
		return false, err
	}
	if mode == unix.S_IFLNK && h.Typeflag == tar.TypeDir {
		if mode, err = p.view.mode(name, 0); err == nil && mode == unix.S_IFDIR {
			return true, nil
		}
	}
	switch isDir := h.Typeflag == tar.TypeDir; {
	case err != nil:
		return false, err
	case isDir && mode != unix.S_IFDIR:
		return false, fmt.Errorf("%q of the image is no directory, and this is one", name)
	case !isDir && mode == unix.S_IFDIR:
		return false, fmt.Errorf("%q of the image is a directory, and this is none", name)
	}
	return h.Typeflag == tar.TypeDir && name == p.dest, nil
}
