package mount

import (
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/lookup"
)

// What the parent can see of the root before the plan runs: the mode of a mount
// point, a device that is there already, where a symbolic link leads. It looks
// with openat2(2), as the child will; see path_resolution(7).
//
// What is seen may change until the plan runs. So nothing here keeps a mount
// inside the root (the child's own openat2 does); it is for better errors, and
// for what a step cannot find out.

// A view is the root with the mounts of the plan so far.
type view struct {
	path   string  // the root on the host
	hidden bool    // the plan mounts the root itself first: nothing is known
	covers []cover // later ones hide earlier ones
}

// A cover is a mount of the plan.
type cover struct {
	place  string // below the root, see view.resolve
	tree   string // what is mounted, as the host sees it; "" is an empty file system
	hidden bool   // a file system with files that the parent cannot know: proc
	hosts  bool   // a file system that is one with the host's: devtmpfs
}

// newView is the root at path. When the plan has mounted something already,
// other than Detach (the one mount(2) that mounts nothing), then the child
// will find at path what the parent does not: the layers of chapter 4.
func newView(p *plan.Plan, path string) *view {
	calls := 0
	for _, s := range p.Steps() {
		if s.Call() == "mount" || s.Call() == "move_mount" {
			calls++
		}
	}
	return &view{path: path, hidden: calls > 1}
}

// errHidden says that the parent cannot know.
var errHidden = errors.New("not to be seen before the plan runs")

// at is the tree on the host in which name is found, and the name there.
func (v *view) at(name string) (tree, below string, err error) {
	for _, c := range slices.Backward(v.covers) {
		below, inside := c.below(name)
		switch {
		case !inside:
			continue
		case c.hidden:
			return "", "", errHidden
		case c.tree == "" && below != ".":
			return "", "", unix.ENOENT
		}
		return c.tree, below, nil
	}
	if v.hidden {
		return "", "", errHidden
	}
	return v.path, name, nil
}

// covered tells whether name is in a mount of the plan, or its top.
func (v *view) covered(name string) bool {
	return slices.ContainsFunc(v.covers, func(c cover) bool { _, inside := c.below(name); return inside })
}

// below is the rest of name inside the mount, "." for its top.
func (c cover) below(name string) (rest string, inside bool) {
	if c.place == name {
		return ".", true
	}
	return strings.CutPrefix(name, c.place+"/")
}

// open opens name, which resolve has freed of links, with the flags of
// open(2). The last component is not followed if it is a link after all.
func (v *view) open(name string, flags int) (*os.File, error) {
	tree, below, err := v.at(name)
	if err != nil {
		return nil, err
	}
	if tree == "" {
		return nil, errHidden // the top of a new file system
	}
	if below == "." && flags == unix.O_PATH {
		return os.OpenFile(tree, flags, 0)
	}
	return lookup.Below(tree, below, flags|unix.O_NOFOLLOW)
}

// maxLinks is the kernel's own limit of links in one walk: path_resolution(7).
const maxLinks = 40

// resolve follows the links in dest as the child will, through all mounts of
// the plan so far, and returns a name below the root that has none. Where
// nothing is, or nothing can be seen, the rest of dest is taken as it is.
//
// What has been found and what is still ahead are never longer than a path can
// be: links that lead through links would otherwise fill the memory.
func (v *view) resolve(dest string) (string, error) {
	at, ahead := ".", dest
	for links := 0; ahead != ""; {
		if len(at)+len(ahead) >= unix.PathMax {
			return "", unix.ENAMETOOLONG
		}
		next, rest, _ := strings.Cut(ahead, "/")
		ahead = rest
		switch next {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		name := path.Join(at, next)
		target := v.link(name)
		if target == "" {
			at = name
			continue
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			at = "."
		}
		ahead = target + "/" + ahead
	}
	return at, nil
}

// link is the text of the symbolic link name, or "" if it is none, or none
// that can be seen.
func (v *view) link(name string) string {
	file, err := v.open(name, unix.O_PATH)
	if err != nil {
		return ""
	}
	defer file.Close()
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(file.Fd()), "", text) // fails for what is not a link
	if err != nil {
		return ""
	}
	return string(text[:n])
}

// mounted notes a mount of the plan.
func (v *view) mounted(c cover) { v.covers = append(v.covers, c) }

// mode is the permissions of a directory, if there is one to be seen.
func (v *view) mode(name string) (permissions uint32, ok bool) {
	file, err := v.open(name, unix.O_PATH)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	var s unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, false
	}
	return s.Mode &^ unix.S_IFMT, true
}
