// Package layer turns the layers of OCI images into directories and back.
//
// A layer is a tar file that says what changed since the layer below it: what
// was added or changed is an entry, what was deleted is an entry with a name
// of its own kind, the whiteout (image-spec layer.md):
//
//	usr/bin/tool              this file is new, or changed
//	usr/bin/.wh.tool          usr/bin/tool of the layers below is gone
//	var/cache/.wh..wh..opq    all that the layers below have in var/cache is gone
//
// Overlayfs, which will stack the directories, has other signs for the same
// two things: a character device 0:0, and the extended attribute
// trusted.overlay.opaque (the kernel's Documentation/filesystems/overlayfs.rst).
// Apply translates from the first language to the second, Write back again.
//
// The tar file comes from a stranger. Every name in it is walked component by
// component from a descriptor of the layer's directory, and a symbolic link is
// read and followed within the image, never by the kernel: see view.go. So
// there is no check of a name that could be forgotten or outwitted.
package layer

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// The limits that Apply keeps to unless Options say otherwise. A layer is
// compressed on its way here, and a few megabytes of zeros unpack to more than
// any disk holds; CVE-2025-58183 is such a bomb, made of one sparse file.
const (
	// DefaultMaxBytes is 64 GiB: the largest images in public use, machine
	// learning frameworks with their models, stay below a quarter of it.
	DefaultMaxBytes = 64 << 30

	// DefaultMaxInodes is 2 Mi: all that ext4 has, as mkfs sizes it, on a disk
	// of 32 GiB (one inode for 16 KiB), and many times what a whole Linux
	// distribution installs.
	DefaultMaxInodes = 2 << 20

	// DefaultMaxMemory is 128 MiB: the names of about 800,000 directories.
	DefaultMaxMemory = 128 << 20

	// maxDepth is how deep directories go: a hundred times what is usual, and
	// as many descriptors as are needed to remove or to pack them, of which a
	// process may have 1024, should nobody have asked for more (man 2 getrlimit).
	maxDepth = 1000
)

// Options say what Apply should know beside the layer itself.
type Options struct {
	// Lower are the directories of the layers below this one, topmost first,
	// each as Apply made it. (If they are not there yet: ApplyLoose.) They are read, never written. A hard link's
	// target, a parent directory, or a symbolic link that stands for one may
	// exist only there, and only what is there needs a whiteout.
	Lower []string

	// UserXattr is for a layer that is unpacked in a user namespace, without
	// root's rights: overlayfs's attributes are user.overlay.*, for mounts with
	// the option userxattr, as they are in Lower then. What only root can make
	// is left out: attributes trusted.*, and a device becomes an empty file.
	UserXattr bool

	// MaxBytes limits the sizes of all files, added up. A hole counts as if it
	// were written: who reads the file has to read it. 0 means
	// DefaultMaxBytes, a negative number no limit.
	MaxBytes int64

	// MaxInodes limits the number of names made. 0 means DefaultMaxInodes, a
	// negative number no limit.
	MaxInodes int64

	// MaxMemory limits what is kept of the layer in memory until its end, the
	// names of directories and whiteouts. 0 means DefaultMaxMemory, a negative
	// number no limit. (One header may have 1 MiB, as archive/tar wants it.)
	MaxMemory int64
}

// Summary says what a layer came to.
type Summary struct {
	Bytes  int64 // sizes of regular files, with those copied up for hard links
	Inodes int64 // names made: hard links, whiteouts and implied directories too

	Devices int64 // that became empty files, see Options.UserXattr
}

// Apply unpacks a layer, an uncompressed tar file, into dir, which must be an
// empty directory that nobody else writes to. Thereafter dir is ready to be
// one lowerdir of an overlay mount, above o.Lower.
//
// The tar file is read to its end, past the end mark of the archive, so that a
// digest computed on the way covers all of it.
//
// Apply needs the rights to chown, to make devices and to set trusted.*
// attributes (CAP_CHOWN, CAP_MKNOD, CAP_SYS_ADMIN), without Options.UserXattr
// those of the host's root. After an error dir holds
// the part that was done; the caller removes it. An error names the entry and
// wraps the kernel's error number.
func Apply(dir string, archive io.Reader, o Options) (Summary, error) {
	u, err := newUnpack(dir, o)
	if err != nil {
		return Summary{}, err
	}
	defer u.close()
	if err := u.read(archive); err != nil {
		return u.done, err
	}
	return u.done, u.finish()
}

// read unpacks entry after entry, and reads what is behind the last one.
func (u *unpack) read(archive io.Reader) error {
	archive = bufio.NewReaderSize(archive, 64<<10) // headers are read by 512 bytes
	for entries := tar.NewReader(archive); ; {
		h, err := entries.Next()
		// ErrInsecurePath comes with a header that is fine to use: it warns of
		// names like "../x" (GODEBUG=tarinsecurepath=0), which end in the root.
		switch {
		case errors.Is(err, io.EOF):
			if _, err = io.Copy(io.Discard, archive); err != nil {
				return fmt.Errorf("read the layer's tar file: %w", err)
			}
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return fmt.Errorf("read the layer's tar file: %w", err)
		}
		if err := u.entry(h, entries); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

// limits are what may still be unpacked.
type limits struct{ bytes, inodes int64 }

// limit chooses between what was asked for and the default.
func limit(asked, usual int64) int64 {
	switch {
	case asked == 0:
		return usual
	case asked < 0:
		return 1<<63 - 1
	}
	return asked
}

// keep counts bytes of memory that are held until the end, in one piece.
func (v *view) keep(bytes int) error {
	const around = 100 // an entry of a map, an inode
	if v.kept += int64(bytes) + around; v.kept > v.maxKept {
		return fmt.Errorf("the names of directories and whiteouts take more than %d bytes: %w", v.maxKept, unix.ENOMEM)
	}
	return nil
}

// checkDepth refuses a path that is too deep.
func checkDepth(path []string) error {
	if len(path) > maxDepth {
		return fmt.Errorf("more than %d directories deep: %w", maxDepth, unix.ENAMETOOLONG)
	}
	return nil
}

// count takes one name, with size bytes behind it, off the limits.
func (u *unpack) count(size int64) error {
	if u.done.Inodes >= u.max.inodes {
		return fmt.Errorf("the layer has more than %d files: %w", u.max.inodes, unix.EDQUOT)
	}
	if size > u.max.bytes-u.done.Bytes {
		return fmt.Errorf("%d more bytes make the layer larger than %d bytes: %w", size, u.max.bytes, unix.EFBIG)
	}
	u.done.Inodes++
	u.done.Bytes += size
	return nil
}
