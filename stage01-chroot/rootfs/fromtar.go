package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// An archive unpacked, tar(5). Whoever made it chose every name and every link
// in it, so nothing here is opened by its path: package inroot.

// FromTar unpacks an archive, plain or compressed with gzip(1), into dir, which
// must exist. Names and links mean what they would mean to a process whose root
// is dir: an absolute link is fine, and stays inside. A later entry replaces an
// earlier one of the same name; a directory that is there stays, with the new
// mode.
//
// Modes, times, extended attributes and numeric owners are set as given. A
// directory that has no entry of its own gets mode 0755 and the time
// 1970-01-01, so that the same archive gives the same tree at any time and
// under any umask. Devices are made as given.
//
// An ordinary user can do it too. All files are then the user's own, extended
// attributes other than user.* are left out, and a device is an error (EPERM).
//
// Limits with the defaults apply. It stops at the first entry that cannot be
// made, and names it; what was made stays.
func FromTar(dir string, archive io.Reader) error { return Limits{}.FromTar(dir, archive) }

// FromTar is the function of that name with these limits: EDQUOT for too many
// files, EFBIG for too many bytes.
func (l Limits) FromTar(dir string, archive io.Reader) error {
	root, err := inroot.Open(dir)
	if err != nil {
		return hint.Add(err, "make the directory first")
	}
	defer root.Close()
	plain, err := decompress(archive)
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	u := unpacker{root: root, budget: newBudget(l, plain), directories: directories{}}
	if err := u.addRoot(); err != nil {
		return err
	}
	return u.all()
}

type unpacker struct {
	root        *inroot.Root
	budget      *budget
	directories directories
}

// addRoot says how the root directory will look, unless the archive says it: as
// now, but for the time, which making files in it changes. Somebody else's
// directory, that we may write to, has the time that the kernel gives it.
func (u *unpacker) addRoot() error {
	stat, err := inroot.Statx(u.root.Dir())
	if err == nil && (privileged() || int(stat.Uid) == os.Geteuid()) {
		u.directories[""] = attributes{mode: uint32(stat.Mode) & 0o7777, uid: int(stat.Uid), gid: int(stat.Gid), time: epoch}
	}
	return err
}

func (u *unpacker) all() error {
	archive := tar.NewReader(u.budget)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return u.directories.set(u.root)
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := u.unpack(header, archive); err != nil {
			return fmt.Errorf("unpack %.200q: %w", header.Name, withCause(err))
		}
	}
}

// unpack makes one entry.
func (u *unpacker) unpack(header *tar.Header, contents io.Reader) error {
	if err := u.budget.take(1, header.Size); err != nil {
		return err
	}
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // remarks about the archive, such as git's commit
	}
	dir, base, err := u.root.Parent(header.Name)
	if err != nil {
		return err
	}
	defer dir.Close()
	made := u.root.Made()
	u.directories.addImplied(made)
	if err := u.budget.take(int64(len(made)), 0); err != nil {
		return err
	}
	if err := makeRoom(dir, base, header); err != nil {
		return err
	}
	if err := u.make(dir, base, header, contents); err != nil {
		return err
	}
	return u.setAttributes(dir, base, header)
}

// makeRoom removes what the entry replaces. Only a directory over a directory
// replaces nothing. The root itself cannot be replaced: a link named "./" would
// move everything that follows.
func makeRoom(dir *os.File, base string, header *tar.Header) error {
	if header.Typeflag == tar.TypeDir {
		stat, err := inroot.Stat(dir, base)
		if errors.Is(err, unix.ENOENT) || err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			return nil
		}
	} else if base == "." {
		return fmt.Errorf("the root can only be a directory: %w", unix.EISDIR)
	}
	return inroot.RemoveAll(dir, base)
}

// make makes the file itself, without attributes.
func (u *unpacker) make(dir *os.File, base string, header *tar.Header, contents io.Reader) error {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return writeFile(dir, base, contents)
	case tar.TypeDir:
		err := inroot.Mkdir(dir, base, openMode)
		if errors.Is(err, unix.EEXIST) {
			return nil // makeRoom left it
		}
		return err
	case tar.TypeSymlink:
		return inroot.Symlink(dir, base, header.Linkname)
	case tar.TypeLink:
		err := u.root.Link(dir, base, header.Linkname)
		switch {
		case errors.Is(err, unix.ENOENT):
			return hint.Add(err, "a hard link's file must come before it in the archive, and be inside")
		case errors.Is(err, unix.EPERM):
			return hint.Add(err, "a directory cannot have a second name")
		}
		return err
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return tarNode(dir, base, header)
	}
	return fmt.Errorf("entries of type %q are not supported", header.Typeflag)
}

func writeFile(dir *os.File, base string, contents io.Reader) error {
	file, err := inroot.Create(dir, base, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, contents)
	return errors.Join(err, file.Close())
}

// tarNode makes a device or a FIFO. The kernel has 12 bits for a major number
// and 20 for a minor, and cuts off what is more: 4097 would be 1.
func tarNode(dir *os.File, base string, header *tar.Header) error {
	major, minor := header.Devmajor, header.Devminor
	if major>>12 != 0 || minor>>20 != 0 {
		return fmt.Errorf("make node %q: there is no device %d:%d: %w", base, major, minor, unix.EINVAL)
	}
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}
	return mknod(dir, base, kind[header.Typeflag], unix.Mkdev(uint32(major), uint32(minor)))
}

func mknod(dir *os.File, base string, kind uint32, device uint64) error {
	err := inroot.Mknod(dir, base, kind|0o600, device)
	if errors.Is(err, unix.EPERM) {
		return hint.Add(err, "devices can only be made by root, and not in a user namespace; leave them out")
	}
	return err
}

// setAttributes sets what the header says, of a directory later. A hard link has
// the attributes of the file that it links to.
func (u *unpacker) setAttributes(dir *os.File, base string, header *tar.Header) error {
	a := attributes{
		mode: uint32(header.Mode) & 0o7777, link: header.Typeflag == tar.TypeSymlink,
		uid: header.Uid, gid: header.Gid, time: header.ModTime, xattrs: map[string]string{},
	}
	for record, value := range header.PAXRecords {
		if name, is := strings.CutPrefix(record, "SCHILY.xattr."); is { // as GNU tar and bsdtar write them
			a.xattrs[name] = value
		}
	}
	switch header.Typeflag {
	case tar.TypeLink:
		return nil
	case tar.TypeDir:
		u.directories[directoryName(header.Name)] = a
		return nil
	}
	return a.set(dir, base)
}

// directoryName is the same for all spellings of a name, "" for the root. With
// ".." in it a name cannot be shortened as text: what is before may be a link.
func directoryName(name string) string {
	if slices.Contains(strings.Split(name, "/"), "..") {
		return strings.TrimRight(name, "/")
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
