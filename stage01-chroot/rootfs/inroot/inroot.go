// Package inroot makes files inside a directory tree that somebody else
// designed, and nowhere outside it.
//
// The names in an archive, and the symbolic links in a root file system, are
// chosen by whoever made the image. Looked up by path from the host they lead
// out: a link "a" to "/", then a file "a/etc/passwd". Checks on the text of a
// name do not help, because what counts is what is on disk when the kernel
// walks the name. So nothing here is walked by its text. A name is turned into
// a descriptor of its parent directory (package lookup), and then the last
// component alone is made with a system call that does not follow links.
//
//	root, err := inroot.Open("/var/lib/box/rootfs")
//	dir, base, err := root.Parent("usr/bin/ls") // makes usr and usr/bin
//	file, err := inroot.Create(dir, base, 0o755)
//	dir.Close()
//
// The same walk was got wrong in CVE-2021-32760, CVE-2025-47290 and
// CVE-2021-29136, among others.
package inroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/lookup"
)

// Root is an open directory tree. It stays the same one when its path is
// renamed or replaced. Several goroutines may use it.
type Root struct {
	dir *os.File

	mutex sync.Mutex
	made  []string // by Parent, until Made is asked
}

// Open opens dir, which must be a directory, as a root. Links on the way to
// it are followed: this path is the caller's own.
func Open(dir string) (*Root, error) {
	root, err := lookup.Root(dir)
	if err != nil {
		return nil, err
	}
	return &Root{dir: root}, nil
}

// Close closes the descriptor. What Parent and Lookup returned stays open.
func (r *Root) Close() error { return r.dir.Close() }

// Dir is the root's own descriptor (O_PATH), valid until Close. It is what
// Parent returns, as another descriptor, for the root itself.
func (r *Root) Dir() *os.File { return r.dir }

// Lookup opens what name is in the root, following links inside it, with the
// flags of open(2); O_CLOEXEC is added. Nothing is created: O_CREAT has no
// effect that Parent and Create would not have more safely, and is refused.
// Errors: ENOENT, ENOTDIR, ELOOP and so on, as openat2(2) has them.
func (r *Root) Lookup(name string, flags int) (*os.File, error) {
	if flags&unix.O_CREAT != 0 {
		return nil, fmt.Errorf("open %q in root: O_CREAT: %w", name, unix.EINVAL)
	}
	return lookup.Open(r.dir, name, flags)
}

// Parent resolves all of name but its last component and returns a descriptor
// (O_PATH) of that directory, which the caller closes, and the last component.
// Directories that are missing on the way are made with mode 0755, whatever the
// umask, also where a link points to one that is missing (see Made). "/", "",
// "." and whatever ends in "." or ".." name a directory itself: the result is
// that directory and ".".
//
// The last component is not looked at: it may be anything, or nothing. Use it
// with the functions of this package, or with an …at system call that does not
// follow links. It never contains a slash.
//
// A name may have up to 4095 bytes (PATH_MAX without its zero), as the kernel
// demands of every path: ENAMETOOLONG. A component on the way that is neither
// a directory nor a link: ENOTDIR. More than 40 links: ELOOP.
func (r *Root) Parent(name string) (dir *os.File, base string, err error) {
	if len(name) >= unix.PathMax {
		return nil, "", fmt.Errorf("open parent of %.20q… in root: %w", name, unix.ENAMETOOLONG)
	}
	parent, base := split(name)
	fd, err := lookup.Openat2(r.dir, parent, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		fd, err = r.makeAll(parent)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open parent of %q in root: %w", name, err)
	}
	return os.NewFile(uintptr(fd), parent), base, nil
}

// Made returns the directories that Parent has made since it was asked last, as
// names without links in them, the outermost first. Who unpacks an archive
// counts them, and sets their times.
func (r *Root) Made() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	made := r.made
	r.made = nil
	return made
}

// split cuts the last component off. One that names a directory by its place
// and not by a name of its own ("." or "..") stays with the parent.
func split(name string) (parent, base string) {
	name = strings.TrimRight(name, "/")
	parent, base = path.Split(name)
	if base == "" || base == "." || base == ".." {
		return orDot(name), "."
	}
	return orDot(parent), base
}

func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}
