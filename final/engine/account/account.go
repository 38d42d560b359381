// Package account finds the user that an image or a command line means: passwd(5),
// group(5), image-spec config.md, "User".
package account

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Read reads a file of a container that does not run yet, see oci.Files. layers are
// the directories that its root is stacked from, topmost first.
func Read(layers []string, name string) ([]byte, error) {
	for _, layer := range layers {
		text, err := oci.ReadPlain(layer, name)
		switch {
		case errors.Is(err, unix.ENOENT) && !opaque(layer, path.Dir(name)):
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), err != nil && whiteout(layer, name):
			return nil, nil // hidden: the file, or the folder above, is another one, or none, from here on
		}
		return text, err
	}
	return nil, nil
}

// whiteout tells whether a layer takes the file away from the layers below: overlayfs,
// "whiteouts and opaque directories".
func whiteout(layer, name string) bool {
	place, err := lookup.Below(layer, name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer place.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(place.Fd()), &st)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// opaque tells whether a folder of a layer hides the same folder of the layers
// below: package layer marks it with this attribute for overlayfs.
func opaque(root, folder string) bool {
	dir, err := lookup.Below(root, folder, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	defer dir.Close()
	var value [1]byte
	n, err := unix.Fgetxattr(int(dir.Fd()), "trusted.overlay.opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// maxID is the greatest id: the kernel has no others.
const maxID = 1<<31 - 1

// Resolve finds the user that an image or a command line means: "name",
// "uid", "name:group", "uid:gid". A number is taken as it is; a name must be
// in the container's /etc/passwd or /etc/group: image-spec config.md, "User".
func Resolve(text string, layers []string) (specs.User, error) {
	for part := range strings.SplitSeq(text, ":") {
		if err := checkNumber(part); err != nil {
			return specs.User{}, fmt.Errorf("user %q: %w", text, err)
		}
	}
	passwd, err := Read(layers, "etc/passwd")
	if err != nil {
		return specs.User{}, err
	}
	group, err := Read(layers, "etc/group")
	if err != nil {
		return specs.User{}, err
	}
	found, err := user.GetExecUser(text, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return specs.User{}, hint.Add(fmt.Errorf("user %q: %w", text, err), "a user without an entry in the image's /etc/passwd can be given as a number")
	}
	// The primary group is among the others too: a program that changes its
	// primary group must not lose what is forbidden to this one
	// (CVE-2022-36109).
	u := specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid), AdditionalGids: []uint32{uint32(found.Gid)}}
	for _, g := range found.Sgids {
		if g != found.Gid {
			u.AdditionalGids = append(u.AdditionalGids, uint32(g))
		}
	}
	return u, nil
}

// checkNumber refuses a number that is no id. Looked up as a name instead, it
// could be one of the image's choosing (CVE-2026-46680).
func checkNumber(part string) error {
	if part == "" || strings.Trim(part, "0123456789") != "" {
		return nil
	}
	if n, err := strconv.ParseUint(part, 10, 64); err != nil || n > maxID {
		return fmt.Errorf("%s is not between 0 and %d", part, maxID)
	}
	return nil
}
