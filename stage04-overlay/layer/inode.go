// inode.go: what is known about a file beside its name and its content.
//
// Tar headers, the kernel's struct stat, and the calls that set attributes
// each have a form of their own for it. This file converts: header → inode →
// file in the layer's directory, and back again for Write.
//
// See man 7 inode, man 7 xattr, image-spec layer.md "File Attributes".

package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// inode is a file's type and attributes.
type inode struct {
	mode     uint32 // type and permissions, as st_mode has them
	uid, gid int
	rdev     uint64 // of a device
	size     int64  // of a regular file
	link     string // target of a symbolic link
	atime    unix.Timespec
	mtime    unix.Timespec
	xattrs   []xattr // sorted by name
}

// xattr is one extended attribute.
type xattr struct{ name, value string }

// kind is the file type part of the mode, S_IFREG and so on.
func (n *inode) kind() uint32 { return n.mode & unix.S_IFMT }

// kinds says which file type each type of tar entry makes. What is not here
// is a hard link, or not known.
var kinds = map[byte]uint32{
	tar.TypeReg:       unix.S_IFREG,
	tar.TypeCont:      unix.S_IFREG, // "contiguous": POSIX says, treat it as regular
	tar.TypeGNUSparse: unix.S_IFREG, // archive/tar fills the holes with zeros
	tar.TypeDir:       unix.S_IFDIR,
	tar.TypeSymlink:   unix.S_IFLNK,
	tar.TypeChar:      unix.S_IFCHR,
	tar.TypeBlock:     unix.S_IFBLK,
	tar.TypeFifo:      unix.S_IFIFO,
}

// paxXattr begins the names of PAX records that hold extended attributes.
const paxXattr = "SCHILY.xattr."

// ofHeader reads a tar header. The names of user and group are not looked at:
// they mean something on the machine where the layer was made, at most.
func ofHeader(h *tar.Header) (inode, error) {
	kind, known := kinds[h.Typeflag]
	if !known {
		return inode{}, fmt.Errorf("entry of unknown type %q", h.Typeflag)
	}
	n := inode{
		mode: kind | uint32(h.Mode)&0o7777,
		uid:  h.Uid, gid: h.Gid,
		link:  h.Linkname,
		mtime: timespec(h.ModTime),
		atime: timespec(h.AccessTime),
	}
	if h.AccessTime.IsZero() {
		n.atime = n.mtime
	}
	if kind == unix.S_IFREG {
		n.size = h.Size
	}
	if err := n.setDevice(h); err != nil {
		return inode{}, err
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, paxXattr); ok && portable(name) {
			n.xattrs = append(n.xattrs, xattr{name, value})
		}
	}
	sort.Slice(n.xattrs, func(i, j int) bool { return n.xattrs[i].name < n.xattrs[j].name })
	return n, n.checkIDs()
}

// xattrSize is how much memory the extended attributes take.
func (n *inode) xattrSize() (size int) {
	for _, x := range n.xattrs {
		size += len(x.name) + len(x.value) + 100
	}
	return size
}

// setDevice takes over the device number of a character or block device.
func (n *inode) setDevice(h *tar.Header) error {
	if n.kind() != unix.S_IFCHR && n.kind() != unix.S_IFBLK {
		return nil
	}
	// The kernel's device numbers have 12 and 20 bits, and mknod drops what is
	// more: 4096:0 would become 0:0 (man 3 makedev; linux/kdev_t.h).
	if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
		return fmt.Errorf("device %d:%d: %w", h.Devmajor, h.Devminor, unix.ERANGE)
	}
	n.rdev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	if isDeviceWhiteout(n.mode, n.rdev) {
		return fmt.Errorf("character device 0:0 is overlayfs's own sign for a deleted file: %w", unix.EINVAL)
	}
	return nil
}

// checkIDs refuses ids that the kernel has not: a tar header holds numbers of
// any size, and chown takes the 32-bit −1 for "leave it" (man 2 chown), so that
// the file would stay root's. Compare CVE-2024-40635.
func (n *inode) checkIDs() error {
	if n.uid < 0 || n.uid >= math.MaxUint32 || n.gid < 0 || n.gid >= math.MaxUint32 {
		return fmt.Errorf("owner %d:%d: %w", n.uid, n.gid, unix.ERANGE)
	}
	return nil
}

// ofFile reads the attributes of an open file; the descriptor may be O_PATH.
func ofFile(fd int, st *unix.Stat_t) (inode, error) {
	n := inode{
		mode: st.Mode, uid: int(st.Uid), gid: int(st.Gid),
		rdev: st.Rdev, atime: st.Atim, mtime: st.Mtim,
	}
	var err error
	switch n.kind() {
	case unix.S_IFREG:
		n.size = st.Size
	case unix.S_IFLNK:
		if n.link, err = readlink(fd, st.Size); err != nil {
			return n, err
		}
	}
	all, err := xattrs(fd)
	for _, x := range all {
		if portable(x.name) {
			n.xattrs = append(n.xattrs, x)
		}
	}
	return n, err
}

// create makes a new file of n's type, no directory, and opens it: a regular file
// for writing, anything else as O_PATH. It has the permissions that the umask
// leaves, but the directories above it are private to root as yet.
func (n *inode) create(dir int, name string) (fd int, err error) {
	call := "create"
	switch n.kind() {
	case unix.S_IFREG:
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = unix.Openat(dir, name, flags, n.mode&0o777)
	case unix.S_IFLNK:
		call = "symlink"
		if err = unix.Symlinkat(n.link, dir, name); err == nil {
			fd, err = openPath(dir, name)
		}
	default:
		call = "mknod"
		if err = unix.Mknodat(dir, name, n.mode&^0o7000, int(n.rdev)); err == nil {
			fd, err = openPath(dir, name)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("%s %q: %w", call, name, err)
	}
	return fd, nil
}

// setOwner gives the open file its owner, extended attributes and permissions,
// in this order: chown clears the set-user-ID bit and security.capability
// (man 2 chown, man 7 capabilities). Most files are created as they should be,
// and a look is cheaper than a change. The mode of a symbolic link cannot be set
// and means nothing.
func (n *inode) setOwner(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if int(st.Uid) != n.uid || int(st.Gid) != n.gid {
		if err := unix.Fchownat(fd, "", n.uid, n.gid, unix.AT_EMPTY_PATH); err != nil {
			return chownError(n, err)
		}
	}
	for _, x := range n.xattrs {
		if err := unix.Setxattr(procPath(fd), x.name, []byte(x.value), 0); err != nil {
			return xattrError("setxattr", x.name, err)
		}
	}
	// An access control list among the attributes has changed the mode.
	if n.kind() == unix.S_IFLNK || st.Mode == n.mode && n.xattrs == nil {
		return nil
	}
	if err := n.chmod(fd); err != nil {
		return fmt.Errorf("chmod to %#o: %w", n.mode&0o7777, err)
	}
	return nil
}

// chownError says which owner it was, and the usual cause.
func chownError(n *inode, err error) error {
	failed := fmt.Errorf("chown to %d:%d: %w", n.uid, n.gid, err)
	if errors.Is(err, unix.EINVAL) {
		return hint.Add(failed, "the user namespace has no such id: map more of them, see man 5 subuid")
	}
	return failed
}

// chmod sets the permissions. The kernel refuses fchmod on O_PATH descriptors,
// which is what devices and fifos are held by.
func (n *inode) chmod(fd int) error {
	if kind := n.kind(); kind == unix.S_IFREG || kind == unix.S_IFDIR {
		return unix.Fchmod(fd, n.mode&0o7777)
	}
	return unix.Chmod(procPath(fd), n.mode&0o7777)
}

// setTimes sets the times of access and change of content.
func (n *inode) setTimes(fd int) error {
	times := []unix.Timespec{n.atime, n.mtime}
	if err := unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// header is the tar header for the file: numbers, no user names, PAX format
// for times to the nanosecond and extended attributes.
func (n *inode) header(name string) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX,
		Name:   name, Linkname: n.link,
		Mode: int64(n.mode & 0o7777), Uid: n.uid, Gid: n.gid,
		Size:    n.size,
		ModTime: time.Unix(n.mtime.Unix()),
	}
	for flag, kind := range kinds {
		if kind == n.kind() && flag != tar.TypeCont && flag != tar.TypeGNUSparse {
			h.Typeflag = flag
		}
	}
	if kind := n.kind(); kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		h.Devmajor, h.Devminor = int64(unix.Major(n.rdev)), int64(unix.Minor(n.rdev))
	}
	for _, x := range n.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+x.name] = x.value
	}
	return h
}

// timespec converts a time; the tar format's "not given" becomes 1970.
func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{}
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil { // seconds beyond what this machine's time_t holds
		return unix.Timespec{}
	}
	return ts
}
