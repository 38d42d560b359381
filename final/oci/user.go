package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Who the program runs as: names, numbers and homes, from the container's
// /etc/passwd and /etc/group: passwd(5), group(5).

// maxUserFile is how large /etc/passwd and /etc/group of a container may be,
// in bytes: they are read by a process of the host (CVE-2026-47262).
const maxUserFile = 1 << 20

// readInRoot reads a file of a container that does not run yet. roots are the
// directories that its root is stacked from, topmost first. Links are
// followed inside the root only, and only a plain file is read: a FIFO would
// hang, a device never end. No such file is no error, and empty.
func readInRoot(roots []string, name string) ([]byte, error) {
	for _, root := range roots {
		text, hidden, err := readBelow(root, name)
		switch {
		case errors.Is(err, unix.ENOENT) && !opaque(root, path.Dir(name)):
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return nil, nil // hidden: the folder above is another one, or none, from here on
		}
		if hidden {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %q of the container: %w", "/"+name, err)
		}
		return text, nil
	}
	return nil, nil
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

// readBelow reads a file below one directory; hidden tells that it is an
// overlay whiteout, which takes the file away from the layers below.
func readBelow(root, name string) (text []byte, hidden bool, err error) {
	place, err := lookup.Below(root, name, unix.O_PATH)
	if err != nil {
		return nil, false, err
	}
	defer place.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &st); err != nil {
		return nil, false, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return nil, true, nil
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, false, errors.New("not a plain file")
	case st.Size > maxUserFile:
		return nil, false, fmt.Errorf("larger than %d bytes", maxUserFile)
	}
	// What was looked at is what is opened: by descriptor, not by name.
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxUserFile))
	return text, false, err
}

// CompleteEnv makes the environment what the program gets. Of a name that is there
// more than once the last one holds, as in runc: getenv(3) would find the first, and
// shells another. HOME, if it is missing, is the home of the process's user in the
// container's /etc/passwd, or "/".
func CompleteEnv(p *specs.Process, roots []string) error {
	p.Env = lastOfEach(p.Env)
	if slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") && e != "HOME=" }) {
		return nil
	}
	passwd, err := readInRoot(roots, "etc/passwd")
	if err != nil {
		return err
	}
	home := "/"
	users, err := user.ParsePasswdFilter(bytes.NewReader(passwd), func(u user.User) bool { return u.Uid == int(p.User.UID) })
	if err == nil && len(users) > 0 && users[0].Home != "" {
		home = users[0].Home
	}
	p.Env = append(slices.DeleteFunc(p.Env, func(e string) bool { return e == "HOME=" }), "HOME="+home)
	return nil
}

// lastOfEach is env with the last entry of each name, in the order of these.
func lastOfEach(env []string) []string {
	var last []string
	seen := map[string]bool{}
	for _, e := range slices.Backward(env) {
		name, _, _ := strings.Cut(e, "=")
		if !seen[name] {
			seen[name] = true
			last = append(last, e)
		}
	}
	slices.Reverse(last)
	return last
}

// completeEnv is CompleteEnv for the first process of a container. It changes a copy: exec
// begins with the configuration as it is, and perhaps another user.
func (c *Container) completeEnv() error {
	spec, process := *c.Spec, *c.Spec.Process
	spec.Process, c.Spec = &process, &spec
	return CompleteEnv(&process, []string{spec.Root.Path})
}

// ResolveUser finds the user that an image or a command line means: "name",
// "uid", "name:group", "uid:gid". A number is taken as it is; a name must be
// in the container's /etc/passwd or /etc/group: image-spec config.md, "User".
func ResolveUser(text string, roots []string) (specs.User, error) {
	for part := range strings.SplitSeq(text, ":") {
		if err := checkNumber(part); err != nil {
			return specs.User{}, fmt.Errorf("user %q: %w", text, err)
		}
	}
	passwd, err := readInRoot(roots, "etc/passwd")
	if err != nil {
		return specs.User{}, err
	}
	group, err := readInRoot(roots, "etc/group")
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
