package inroot

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/lookup"
)

// The walk that makes missing directories. openat2(2) cannot create on its
// way, so the walk goes one component at a time, and resolves links as the
// kernel does with RESOLVE_IN_ROOT: path_resolution(7).

// maxLinks is the kernel's own limit of links in one walk (MAXSYMLINKS).
const maxLinks = 40

// walk is a position in the tree, and what is still ahead.
type walk struct {
	root  *Root
	fd    int      // the directory reached so far
	at    []string // its components, none of them a link, "." or ".."
	ahead []string // components still to be walked
	links int      // how many links were followed
	made  int      // how many of the last components of at were made by us
}

// makeAll opens the directory name, and makes what of it is missing. Where a
// link dangles, what it points to is made, in the root.
func (r *Root) makeAll(name string) (int, error) {
	w := walk{root: r, fd: -1, ahead: strings.Split(name, "/")}
	if err := w.restart(nil); err != nil {
		return -1, err
	}
	for len(w.ahead) > 0 {
		next := w.ahead[0]
		w.ahead = w.ahead[1:]
		if err := w.step(next); err != nil {
			unix.Close(w.fd)
			return -1, err
		}
	}
	w.note()
	return w.fd, nil
}

// step goes into one component.
func (w *walk) step(name string) error {
	switch name {
	case "", ".":
		return nil
	case "..":
		return w.restart(w.at[:max(len(w.at)-1, 0)])
	}
	// O_NOFOLLOW with O_PATH opens a link itself: open(2). O_DIRECTORY then
	// fails on it with ENOTDIR, like on any other file.
	fd, err := unix.Openat(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOTDIR) {
		return w.follow(name)
	}
	made := false
	if errors.Is(err, unix.ENOENT) {
		fd, made, err = makeAndOpen(w.fd, name)
	}
	if err != nil {
		return err
	}
	if made {
		w.made++
	} else {
		w.note()
	}
	w.enter(fd, append(w.at, name))
	return nil
}

// makeAndOpen makes a directory. Another process may be faster: then it is that
// one's, with the mode that it has.
func makeAndOpen(parent int, name string) (fd int, made bool, err error) {
	err = unix.Mkdirat(parent, name, 0o755)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, false, err
	}
	made = err == nil
	fd, err = unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil || !made {
		return fd, false, err
	}
	if err := unix.Chmod(procPath(fd), 0o755); err != nil { // the umask took some away
		unix.Close(fd)
		return -1, true, err
	}
	return fd, true, nil
}

// note tells the root which directories were made. They are parts of one
// string: a name of 2,000 components that are all missing costs no more memory
// than its text.
func (w *walk) note() {
	if w.made == 0 {
		return
	}
	made := make([]string, w.made)
	name := strings.Join(w.at, "/")
	for ; w.made > 0; w.made-- {
		made[w.made-1] = name
		name = name[:max(strings.LastIndexByte(name, '/'), 0)]
	}
	w.root.mutex.Lock()
	defer w.root.mutex.Unlock()
	w.root.made = append(w.root.made, made...)
}

// follow puts a link's text ahead of the walk. "/" is the root.
func (w *walk) follow(name string) error {
	target, err := readlink(w.fd, name)
	if errors.Is(err, unix.EINVAL) {
		return unix.ENOTDIR // no link: a file in the way
	}
	if err != nil {
		return err
	}
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	w.ahead = append(strings.Split(target, "/"), w.ahead...)
	if strings.HasPrefix(target, "/") {
		return w.restart(nil)
	}
	return nil
}

// restart opens a directory by the components that led to it, from the root.
// That is what ".." needs: the kernel's own ".." of a descriptor would be
// right only until somebody moves that directory.
func (w *walk) restart(at []string) error {
	w.note()
	fd, err := lookup.Openat2(w.root.dir, orDot(strings.Join(at, "/")), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	w.enter(fd, at)
	return nil
}

// enter makes fd the position, and closes the one before.
func (w *walk) enter(fd int, at []string) {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
	w.fd, w.at = fd, at
}

// readlink returns a link's whole text: at most PATH_MAX bytes, readlink(2).
func readlink(dir int, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}
