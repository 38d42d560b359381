package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// A directory tree copied. Programs may be running in it, and whoever designed
// it may be at work while we read, so nothing is read by its path either: each
// thing is opened once, O_PATH of open(2), and is what it is from then on
// (package inroot, handle.go).

// FromDirectory copies the tree below source into dir, which must exist; what
// the copy would replace there is an error (EEXIST), so dir is best empty.
//
// The copy has the same names, contents, holes, links (two names of one file
// are two names of one file), FIFOs, sockets and devices, with the same modes,
// owners, extended attributes (file capabilities, ACLs) and times of last
// modification, down to dir itself. Of a place where something is mounted, only
// an empty directory or file is copied, with mode 0755 or 0644 and the time
// 1970-01-01. Not copied are times of last access, flags (chattr(1)) and quotas.
//
// An ordinary user can do it too, as far as the files can be read. The copies
// are then the user's own, extended attributes other than user.* are left out,
// and a device is an error (EPERM).
//
// A name below source may have up to 4095 bytes in all: ENAMETOOLONG. A dir
// that is inside source is an error: EINVAL. It stops at the first thing that
// cannot be copied, and names it; what was copied stays.
//
// To use a directory in place, without a copy, ask Check whether it is fit.
func FromDirectory(dir, source string) error {
	from, err := inroot.Open(source)
	if err != nil {
		return hint.Add(err, "what is copied must be a directory that is there")
	}
	defer from.Close()
	to, err := inroot.Open(dir)
	if err != nil {
		return hint.Add(err, "make the directory first")
	}
	defer to.Close()
	top, err := inroot.Statx(to.Dir())
	if err != nil {
		return err
	}
	c := copier{from: from, to: to, top: inodeOf(top), links: map[inode]string{}, directories: directories{}}
	if err := c.all(); err != nil {
		return fmt.Errorf("copy %q to %q: %w", source, dir, err)
	}
	return nil
}

// inode is what a file is, whatever its names are.
type inode struct {
	major, minor uint32
	number       uint64
}

func inodeOf(stat unix.Statx_t) inode { return inode{stat.Dev_major, stat.Dev_minor, stat.Ino} }

type copier struct {
	from, to    *inroot.Root
	top         inode            // the directory that is copied to
	links       map[inode]string // files with several names: the first one
	directories directories
}

// all copies directory by directory, each opened by its name from the root
// again: a tree may be deeper than this process can have descriptors.
func (c *copier) all() error {
	if err := c.root(); err != nil {
		return err
	}
	for queue := []string{"."}; len(queue) > 0; queue = queue[1:] {
		more, err := c.directory(queue[0])
		if err != nil {
			return err
		}
		queue = append(queue, more...)
	}
	return c.directories.set(c.to)
}

// root notes the attributes of the uppermost directory.
func (c *copier) root() error {
	stat, err := inroot.Statx(c.from.Dir())
	if err != nil {
		return err
	}
	if inodeOf(stat) == c.top {
		return fmt.Errorf("they are the same directory: %w", unix.EINVAL)
	}
	c.directories[""], err = readAttributes(c.from.Dir(), stat)
	return err
}

// directory copies what is in one directory, in the order of names, and returns
// the directories that are in it.
func (c *copier) directory(name string) (more []string, err error) {
	source, err := c.from.Lookup(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, withCause(err)
	}
	defer source.Close()
	target, err := c.to.Lookup(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	names, err := source.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read directory %q: %w", name, err)
	}
	slices.Sort(names)
	for _, base := range names {
		entry := path.Join(name, base)
		isDirectory, err := c.entry(source, target, entry)
		if err != nil {
			return nil, fmt.Errorf("file %.200q: %w", entry, withCause(err))
		}
		if isDirectory {
			more = append(more, entry)
		}
	}
	return more, nil
}

// entry copies one thing. name is its path from the root.
func (c *copier) entry(source, target *os.File, name string) (isDirectory bool, err error) {
	base := path.Base(name)
	handle, err := inroot.Handle(source, base)
	if err != nil {
		return false, err
	}
	defer handle.Close()
	stat, err := inroot.Statx(handle)
	if err != nil {
		return false, err
	}
	if stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return false, mountPoint(target, base, stat)
	}
	isDirectory = stat.Mode&unix.S_IFMT == unix.S_IFDIR
	if first, known := c.links[inodeOf(stat)]; known {
		return false, c.to.Link(target, base, first)
	}
	if stat.Nlink > 1 && !isDirectory {
		c.links[inodeOf(stat)] = name
	}
	if isDirectory && inodeOf(stat) == c.top {
		return false, hint.Add(fmt.Errorf("the copy would be in what is copied: %w", unix.EINVAL),
			"copy to a directory elsewhere")
	}
	if err := copyThing(target, base, handle, stat); err != nil {
		return false, err
	}
	a, err := readAttributes(handle, stat)
	if err != nil {
		return false, err
	}
	if isDirectory {
		c.directories[name] = a
		return true, nil
	}
	return false, a.set(target, base)
}

// mountPoint makes a place to mount on. What is mounted there is not ours to
// copy: it may be /proc, or a whole disk.
func mountPoint(target *os.File, base string, stat unix.Statx_t) error {
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := inroot.Mkdir(target, base, openMode); err != nil {
			return err
		}
		return attributes{mode: 0o755, time: epoch}.set(target, base)
	}
	file, err := inroot.Create(target, base, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(attributes{mode: 0o644, time: epoch}.set(target, base), file.Close())
}

// copyThing makes the thing itself, without attributes.
func copyThing(target *os.File, base string, handle *os.File, stat unix.Statx_t) error {
	switch kind := uint32(stat.Mode) & unix.S_IFMT; kind {
	case unix.S_IFREG:
		return copyFile(target, base, handle)
	case unix.S_IFDIR:
		return inroot.Mkdir(target, base, openMode)
	case unix.S_IFLNK:
		text, err := inroot.Readlink(handle)
		if err != nil {
			return err
		}
		return inroot.Symlink(target, base, text)
	default:
		return mknod(target, base, kind, unix.Mkdev(stat.Rdev_major, stat.Rdev_minor))
	}
}

func readAttributes(handle *os.File, stat unix.Statx_t) (attributes, error) {
	xattrs, err := inroot.Xattrs(handle)
	return attributes{
		mode: uint32(stat.Mode) & 0o7777, link: stat.Mode&unix.S_IFMT == unix.S_IFLNK,
		uid: int(stat.Uid), gid: int(stat.Gid), time: time.Unix(stat.Mtime.Sec, int64(stat.Mtime.Nsec)), xattrs: xattrs,
	}, err
}
