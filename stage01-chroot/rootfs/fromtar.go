package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// An archive unpacked, tar(5). Whoever made it chose every name and every link
// in it, so nothing here is opened by its path: package inroot.

// FromTar unpacks an uncompressed archive into dir, which must exist. Names
// and links mean what they would mean to a process whose root is dir: an
// absolute link is fine, and stays inside. A later entry replaces an earlier
// one of the same name; a directory that is there stays, with the new mode.
//
// Modes, times, extended attributes and, if the caller is root, numeric owners
// are set as given. Devices are made as given, which needs CAP_MKNOD. There is
// no limit to what the archive may hold: give a limited reader.
//
// It stops at the first entry that cannot be made; what was made stays.
func FromTar(dir string, r io.Reader) error {
	root, err := inroot.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root, owners: os.Geteuid() == 0, times: map[string]time.Time{}}
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return u.setDirectoryTimes()
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := u.unpack(header, archive); err != nil {
			return fmt.Errorf("unpack %.200q: %w", header.Name, err)
		}
	}
}

type unpacker struct {
	root   *inroot.Root
	owners bool                 // owners are set
	times  map[string]time.Time // of directories, set last: making files in them changes it
}

// unpack makes one entry.
func (u *unpacker) unpack(header *tar.Header, contents io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // remarks about the archive, such as git's commit
	}
	dir, base, err := u.root.Parent(header.Name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := makeRoom(dir, base, header); err != nil {
		return err
	}
	if err := u.make(dir, base, header, contents); err != nil {
		return err
	}
	if header.Typeflag == tar.TypeLink {
		return nil // it has the attributes of the file that it links to
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
	const perm = 0o600 // until the owner is set
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return writeFile(dir, base, contents)
	case tar.TypeDir:
		err := inroot.Mkdir(dir, base, perm|0o100)
		if errors.Is(err, unix.EEXIST) {
			return nil // makeRoom left it
		}
		return err
	case tar.TypeSymlink:
		return inroot.Symlink(dir, base, header.Linkname)
	case tar.TypeLink:
		return u.root.Link(dir, base, header.Linkname)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return mknod(dir, base, header)
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

func mknod(dir *os.File, base string, header *tar.Header) error {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}
	device := unix.Mkdev(uint32(header.Devmajor), uint32(header.Devminor))
	err := inroot.Mknod(dir, base, kind[header.Typeflag]|0o600, device)
	if errors.Is(err, unix.EPERM) {
		return hint.Add(err, "devices can only be made by root, and not in a user namespace")
	}
	return err
}

// setAttributes sets owner, mode, extended attributes and times, in the order
// in which none undoes another: a new owner clears set-user-ID and file
// capabilities.
func (u *unpacker) setAttributes(dir *os.File, base string, header *tar.Header) error {
	if u.owners {
		if err := inroot.Chown(dir, base, header.Uid, header.Gid); err != nil {
			return err
		}
	}
	if header.Typeflag != tar.TypeSymlink {
		if err := inroot.Chmod(dir, base, uint32(header.Mode)&0o7777); err != nil {
			return err
		}
	}
	for record, value := range header.PAXRecords {
		if name, is := strings.CutPrefix(record, "SCHILY.xattr."); is { // as GNU tar and bsdtar write them
			if err := inroot.Setxattr(dir, base, name, []byte(value)); err != nil {
				return err
			}
		}
	}
	if header.Typeflag == tar.TypeDir {
		u.times[header.Name] = header.ModTime
	}
	return inroot.Chtimes(dir, base, header.ModTime)
}

// setDirectoryTimes sets what unpacking has changed. A directory that a later
// entry replaced is not there any more.
func (u *unpacker) setDirectoryTimes() error {
	for name, modified := range u.times {
		dir, err := u.root.Lookup(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue
		}
		if err != nil {
			return err
		}
		err = inroot.Chtimes(dir, ".", modified)
		if err := errors.Join(err, dir.Close()); err != nil {
			return fmt.Errorf("unpack %.200q: %w", name, err)
		}
	}
	return nil
}
