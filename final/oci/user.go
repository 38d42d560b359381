package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Who the program runs as: names, numbers and homes, from the container's
// /etc/passwd and /etc/group: passwd(5), group(5).

// maxUserFile is how large /etc/passwd and /etc/group of a container may be,
// in bytes: they are read by a process of the host (CVE-2026-47262).
const maxUserFile = 1 << 20

// Files reads files of a container that does not run yet, or of one that does. Links are
// followed inside its root only, and only a plain file is read: a FIFO would hang, a
// device never end. No such file is no error, and empty.
func Files(root string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		text, err := ReadPlain(root, name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			return nil, nil
		}
		return text, err
	}
}

// ReadPlain is that for one file, which must be there.
func ReadPlain(root, name string) (text []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read %q of the container: %w", "/"+name, err)
		}
	}()
	place, err := lookup.Below(root, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("not a plain file")
	case st.Size > maxUserFile:
		return nil, fmt.Errorf("larger than %d bytes", maxUserFile)
	}
	// What was looked at is what is opened: by descriptor, not by name.
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", place.Fd()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxUserFile))
}

// CompleteEnv makes the environment what the program gets. Of a name that is there
// more than once the last one holds, as in runc: getenv(3) would find the first, and
// shells another. HOME, if it is missing, is the home of the process's user in the
// container's /etc/passwd, which read reads, see Files, or "/".
func CompleteEnv(p *specs.Process, read func(name string) ([]byte, error)) error {
	p.Env = lastOfEach(p.Env)
	if slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") && e != "HOME=" }) {
		return nil
	}
	passwd, err := read("etc/passwd")
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
	return CompleteEnv(&process, Files(spec.Root.Path))
}
