// hardlink.go: one file with several names.
//
// A hard link in a layer may lead to a file of a lower layer (image-spec
// layer.md, "Hardlinks"), which is in another directory, and not to be changed.
// Overlayfs has the same question when a program in a container makes a hard
// link, and the same answer is given here: the file is copied up first.
//
// See man 2 linkat.

package layer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// hardLink makes name another name of the file target. The entry has attributes
// too, but they are the target's: it is one file. A symbolic link as the last
// component is the target itself.
func (u *unpack) hardLink(dirs []string, name, target string) error {
	path, err := u.targetPath(target)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	if u.view.open != nil {
		o, ended, err := u.view.look(0, path)
		o.close()
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", target, err)
		}
		if o == nil && !ended || u.view.open.links[strings.Join(path, "/")] {
			return u.postpone(dirs, name, target, path)
		}
	}
	return u.link(dirs, name, target, path)
}

// targetPath is where the target of a hard link is, without symbolic links.
func (u *unpack) targetPath(target string) ([]string, error) {
	names := components(target)
	if len(names) == 0 || names[len(names)-1] == ".." {
		return nil, unix.EISDIR
	}
	last := len(names) - 1
	path, err := u.view.resolve(names[:last])
	return append(path, names[last]), err
}

// link makes a hard link to the file at path, which the entry calls target.
func (u *unpack) link(dirs []string, name, target string, path []string) error {
	o, err := u.target(path)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	defer o.close()
	dir, err := u.parent(dirs)
	if err != nil {
		return err
	}
	if err := u.count(0); err != nil {
		return err
	}
	link := func() error {
		return unix.Linkat(unix.AT_FDCWD, procPath(o.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
	}
	err = link()
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if unix.Fstatat(dir.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Ino == o.stat.Ino {
			// A link to itself; removing it would be the end of the file.
			delete(u.copied, join(dir.path, name))
			return nil
		}
		if err := u.remove(dir, name); err != nil {
			return err
		}
		err = link()
	}
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", target, err)
	}
	return nil
}

// target finds the file that a hard link leads to. If it is in a lower layer, it
// is copied up to its place in this one first, as overlayfs does when a program
// makes such a link.
func (u *unpack) target(path []string) (*object, error) {
	o, err := u.view.find(path)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, unix.ENOENT
	case o.kind() == unix.S_IFDIR:
		o.close()
		return nil, unix.EISDIR
	case o.layer == 0:
		return o, nil
	}
	defer o.close()
	if err := u.copyUp(path, o); err != nil {
		return nil, fmt.Errorf("copy up: %w", err)
	}
	full := strings.Join(path, "/")
	u.copied[full] = true
	if err := u.view.keep(len(full)); err != nil {
		return nil, err
	}
	return u.view.find(path)
}

// copyUp copies a file of a lower layer to the same path in this one.
func (u *unpack) copyUp(path []string, o *object) error {
	n, err := ofFile(o.fd, &o.stat)
	if err != nil {
		return err
	}
	last := len(path) - 1
	dir, err := u.openDir(path[:last])
	if err != nil {
		return err
	}
	if n.kind() != unix.S_IFREG {
		return u.put(dir, path[last], &n, content{})
	}
	f, err := os.Open(procPath(o.fd))
	if err != nil {
		return err
	}
	defer f.Close()
	return u.put(dir, path[last], &n, content{f, o.stat.Blocks*512 < o.stat.Size})
}
