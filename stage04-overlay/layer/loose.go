// loose.go: a layer that is unpacked before those below it.
//
// A pull has all layers of an image on their way at the same time. Each of them
// can be unpacked as it comes in, for what a layer means depends on those below
// in few places, and these can wait:
//
//   - whether a whiteout or an opaque directory hides anything,
//   - the attributes of a directory that the archive implies but does not have,
//   - hard links to files of lower layers.
//
// In one place it cannot wait: a directory on the way to a file may be a
// symbolic link in a lower layer, and then the file belongs somewhere else. So
// while the layer is unpacked, each directory that was not there is noted, and
// taken for one that is a directory below, or nothing. Settle looks. It is
// hardly ever wrong: image builders that write what has changed write the names
// that the kernel sees, without links.

package layer

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInOrder says that a layer cannot be unpacked before those below it. The
// caller empties the directory and takes Apply, with Options.Lower, when they
// are there.
var ErrInOrder = errors.New("the layer can only be unpacked above those below it")

// Loose is a layer that was unpacked by itself, and waits for those below it.
type Loose struct {
	dir string
	u   *unpack
}

// ApplyLoose is the first half of Apply, for which nothing needs to be known of
// the layers below: o.Lower is not looked at. The second half is Settle;
// together they make what Apply makes.
//
// After ErrInOrder, as after any other error, the tar file was not read to its
// end. Between the halves the directory keeps its path.
func ApplyLoose(dir string, archive io.Reader, o Options) (*Loose, error) {
	o.Lower = nil
	u, err := newUnpack(dir, o)
	if err != nil {
		return nil, err
	}
	defer u.close()
	u.view.open = &open{dirs: map[string]bool{}, links: map[string]bool{}}
	if err := u.read(archive); err != nil {
		return nil, inOrder(err)
	}
	u.buf = nil // it may be a while, and there may be many layers
	return &Loose{dir, u}, nil
}

// Settle is the second half of Apply. Lower are the directories of the layers
// below, topmost first, each one settled. It is called once.
func (l *Loose) Settle(lower []string) (Summary, error) {
	u := l.u
	defer u.close()
	left := u.view.open
	u.view.open, u.buf = nil, make([]byte, bufferSize)
	if err := u.openLayers(append([]string{l.dir}, lower...)); err != nil {
		return u.done, err
	}
	for path := range left.dirs {
		if err := u.stillOpen(path); err != nil {
			return u.done, err
		}
	}
	made := map[string]bool{}
	for _, link := range left.list {
		if err := u.settleLink(link, made); err != nil {
			return u.done, fmt.Errorf("unpack %q: %w", join(link.dir, link.name), inOrder(err))
		}
	}
	return u.done, u.finish()
}

// open is what is left open while a layer is unpacked loosely.
type open struct {
	dirs  map[string]bool // paths that were taken for directories, or to be made
	links map[string]bool // paths of links, where there is an empty file so far
	list  []openLink      // the same, in order
}

// openLink is a hard link to a file that is not in this layer.
type openLink struct {
	dir, name string   // dir is without symbolic links
	path      []string // of the target, likewise
	target    string   // as the entry has it
}

// stillOpen checks what was assumed of a directory: that lower layers have one,
// or nothing. What this layer hides does not matter: it may have come later.
func (u *unpack) stillOpen(path string) error {
	u.view.steps = maxSteps
	o, err := u.view.search(components(path), 1, len(u.view.layers))
	if o == nil || err != nil {
		return err
	}
	defer o.close()
	if o.kind() != unix.S_IFDIR {
		return fmt.Errorf("%w: %q is no directory there", ErrInOrder, path)
	}
	return nil
}

// postpone puts an empty file where a hard link will be, so that later entries
// find the name taken.
func (u *unpack) postpone(dirs []string, name, target string, path []string) error {
	dir, err := u.parent(dirs)
	if err != nil {
		return err
	}
	if full := join(dir.path, name); full == strings.Join(path, "/") {
		return fmt.Errorf("%w: a hard link to itself", ErrInOrder)
	}
	if err := u.put(dir, name, &inode{mode: unix.S_IFREG}, content{}); err != nil {
		return err
	}
	u.view.open.links[join(dir.path, name)] = true
	u.view.open.list = append(u.view.open.list, openLink{dir.path, name, path, target})
	return u.view.keep(len(dir.path) + 2*len(name) + 16*len(path) + 2*len(target))
}

// settleLink makes the hard link that was postponed. What is made at both of its
// ends is written down in made: anything else that is at its target now came
// later in the archive, and was not meant.
func (u *unpack) settleLink(l openLink, made map[string]bool) error {
	u.view.steps = maxSteps
	target := strings.Join(l.path, "/")
	o, ended, err := u.view.look(0, l.path)
	if err != nil {
		return err
	}
	o.close()
	if (o != nil || ended) && !made[target] {
		return fmt.Errorf("%w: hard link to %q, which the layer replaces", ErrInOrder, l.target)
	}
	dir, err := u.openDir(components(l.dir))
	if err != nil {
		return err
	}
	if err := u.remove(dir, l.name); err != nil {
		return err
	}
	u.done.Inodes--
	made[target], made[join(l.dir, l.name)] = true, true
	return u.link(components(l.dir), l.name, l.target, l.path)
}

// inOrder adds ErrInOrder to errors that may be none when the layers below are
// known: a name may lead somewhere else.
func inOrder(err error) error {
	for _, errno := range []error{unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP} {
		if errors.Is(err, errno) && !errors.Is(err, ErrInOrder) {
			return fmt.Errorf("%w: %w", ErrInOrder, err)
		}
	}
	return err
}
