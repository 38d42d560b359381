package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A path of the host in the plan. The kernel will walk the same path in the new
// root, component by component, so each link on the way must be there as a
// link: path_resolution(7).

// addPath adds what is at a path of the host, an absolute one, with every
// directory and every link on the way. It returns the path that the last link
// led to. A directory is added without what is in it.
func (c *Closure) addPath(name, why string) (resolved string, err error) {
	const maxLinks = 40 // MAXSYMLINKS, as in the kernel
	at, ahead := "/", strings.Split(name, "/")
	for links := 0; len(ahead) > 0; {
		next := path.Join(at, ahead[0]) // at has no links in it, so ".." may be cut off as text
		ahead = ahead[1:]
		if next == at || next == path.Dir(at) {
			at = next
			continue
		}
		link, err := c.addComponent(next, why)
		if err != nil {
			return "", err
		}
		if link == "" {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: name, Err: unix.ELOOP}
		}
		if path.IsAbs(link) {
			at = "/"
		}
		ahead = append(strings.Split(link, "/"), ahead...)
	}
	return at, nil
}

// addComponent adds the one thing at name, on the way to which no link is left.
// It returns the text of a link.
func (c *Closure) addComponent(name, why string) (link string, err error) {
	info, err := os.Lstat(name)
	if err != nil {
		return "", err
	}
	file := File{Name: strings.TrimPrefix(name, "/"), Mode: info.Mode(), Why: why}
	switch info.Mode().Type() {
	case fs.ModeDir:
		file.Mode = fs.ModeDir | 0o755
	case fs.ModeSymlink:
		if file.Link, err = os.Readlink(name); err != nil {
			return "", err
		}
		file.Mode = fs.ModeSymlink | 0o777
	case 0:
		file.Source = name
	default:
		return "", fmt.Errorf("add %q: it is neither a file, a directory nor a link: %v", name, info.Mode())
	}
	c.addMissing(file)
	return file.Link, nil
}
