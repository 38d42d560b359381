// form.go: overlayfs's own signs, which a layer's directory is made of.
//
// There are two forms of them. The extended attributes are trusted.overlay.*,
// which only root can set; or, in a user namespace, user.overlay.*, which
// overlayfs heeds if it is mounted with the option userxattr. A whiteout is a
// character device 0:0 in both, as the kernel lets everybody make that one
// (since Linux 5.8). Where it does not after all, because of a security module
// or a file system without devices, it is an empty file with an attribute, which
// overlayfs knows since Linux 6.7; the directory is marked as having such files.
//
// See Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".

package layer

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// form is how overlayfs's extended attributes begin.
type form string

const (
	trustedForm form = "trusted.overlay."
	userForm    form = "user.overlay."
)

// formOf chooses the form.
func formOf(userXattr bool) form {
	if userXattr {
		return userForm
	}
	return trustedForm
}

// Values of the attribute "opaque" of a directory.
const (
	opaqueAll       = "y" // hides what lower layers have in it
	opaqueWhiteouts = "x" // has whiteouts that are files
)

// private says whether an extended attribute is overlayfs's own. From a tar
// file they must not come: trusted.overlay.redirect, for one, makes a directory
// show another directory.
func private(xattr string) bool {
	return strings.HasPrefix(xattr, string(trustedForm)) || strings.HasPrefix(xattr, string(userForm))
}

// portable says whether an extended attribute belongs to the file and not to
// the machine it is on (man 7 xattr). Overlayfs's do not, and neither do labels
// of security modules (security.selinux, security.ima); but file capabilities
// and access control lists do. What has no name of Linux's is not one either:
// macOS writes com.apple.quarantine into its tar files.
func portable(xattr string) bool {
	switch xattr {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return !private(xattr) && (strings.HasPrefix(xattr, "user.") || strings.HasPrefix(xattr, "trusted."))
}

// isDeviceWhiteout says whether the file is a character device 0:0.
func isDeviceWhiteout(mode uint32, rdev uint64) bool {
	return mode&unix.S_IFMT == unix.S_IFCHR && rdev == 0
}

// isWhiteout says whether overlayfs takes the open file for a whiteout.
func (f form) isWhiteout(fd int, st *unix.Stat_t) (bool, error) {
	if isDeviceWhiteout(st.Mode, st.Rdev) {
		return true, nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > 0 {
		return false, nil
	}
	_, found, err := f.get(procPath(fd), "whiteout")
	return found, err
}

// isOpaque says whether the open directory hides what lower layers have in it.
func (f form) isOpaque(dir int) (bool, error) {
	value, _, err := f.get(procPath(dir), "opaque")
	return value == opaqueAll, err
}

// get reads an attribute that has, if it is there, one character at most.
func (f form) get(path, name string) (value string, found bool, err error) {
	var buf [1]byte
	n, err := unix.Getxattr(path, string(f)+name, buf[:])
	switch {
	case err == nil:
		return string(buf[:n]), true, nil
	case errors.Is(err, unix.ERANGE): // it is longer
		return "", true, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return "", false, nil
	}
	return "", false, fmt.Errorf("getxattr %q: %w", string(f)+name, err)
}

// set sets an attribute of an open file.
func (f form) set(fd int, name, value string) error {
	if err := unix.Fsetxattr(fd, string(f)+name, []byte(value), 0); err != nil {
		return xattrError("setxattr", string(f)+name, err)
	}
	return nil
}

// makeWhiteout makes overlayfs's whiteout of name.
func (f form) makeWhiteout(dir int, name string) error {
	err := unix.Mknodat(dir, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EPERM) && f == userForm {
		return f.makeFileWhiteout(dir, name)
	}
	if err != nil {
		return fmt.Errorf("mknod whiteout %q: %w", name, err)
	}
	return nil
}

// makeFileWhiteout makes a whiteout that is a file.
func (f form) makeFileWhiteout(dir int, name string) error {
	n := inode{mode: unix.S_IFREG}
	fd, err := n.create(dir, name)
	if err != nil {
		return err
	}
	defer closeDir(fd)
	if err := f.set(fd, "whiteout", opaqueAll); err != nil {
		return err
	}
	return f.set(dir, "opaque", opaqueWhiteouts)
}
