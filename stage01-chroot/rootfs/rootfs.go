// Package rootfs makes a root file system to stand in: a directory that has
// what a program needs to start once chroot(2) has made it "/".
//
// What a program needs is not only the program. The kernel starts most of them
// through an interpreter, whose path is written in the file (PT_INTERP of an
// ELF program, the line after "#!" of a script), and that loads libraries by
// name. All of these are looked up in the new root. One that is missing gives
// the most confusing error of the field: `/bin/sh: no such file or directory`,
// when /bin/sh is there.
//
// There are four ways to a root file system:
//
//	FromPrograms   from programs of this host, with all that they need
//	FromTar        from an archive that somebody made
//	FromDirectory  from a directory, copied
//	Check          from a directory, in place: is it fit?
//
// The first three give the same tree for the same input, whenever they run and
// whatever the umask is. None of them needs root, but an ordinary user can only
// make files of its own, and no devices.
package rootfs

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// Closure is a root file system that is planned and not yet written: programs
// and everything that they need, down to the last library. The zero value has
// nothing in it; FromPrograms makes useful ones.
type Closure struct {
	// ModTime is the time of last modification of every file. The zero value
	// means 1970-01-01: what does not depend on when it is made is the same
	// bytes each time (reproducible-builds.org, SOURCE_DATE_EPOCH).
	ModTime time.Time

	files    map[string]File
	programs map[string]bool // the programs that were looked into already
}

// File is one file of the plan.
type File struct {
	Name   string      // its path below the new root, without a leading slash: "usr/bin/ls"
	Mode   fs.FileMode // type, permission bits, setuid, setgid, sticky
	Link   string      // the text of a symbolic link
	Source string      // the file of the host that a regular file is copied from, or
	Data   []byte      // its contents, if Source is ""
	Why    string      // why it is there: "needed by /usr/bin/ls"
}

// String is one line of the printed plan.
func (f File) String() string {
	line := fmt.Sprintf("%v %s", f.Mode, f.Name)
	if f.Link != "" {
		line += " -> " + f.Link
	}
	return line + " (" + f.Why + ")"
}

// Files returns the plan, sorted so that a directory comes before what is in it.
func (c *Closure) Files() []File {
	return slices.SortedFunc(maps.Values(c.files), func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
}

// Add adds a file or replaces one of that name, and adds the directories on
// the way to it that are missing. Its owner is root, as that of all others.
func (c *Closure) Add(f File) {
	f.Name = strings.TrimPrefix(path.Clean("/"+f.Name), "/")
	for dir := path.Dir(f.Name); dir != "."; dir = path.Dir(dir) {
		c.addMissing(File{Name: dir, Mode: fs.ModeDir | 0o755, Why: f.Why})
	}
	if c.files == nil {
		c.files = map[string]File{}
	}
	c.files[f.Name] = f
}

// addMissing adds a file unless there is one of that name.
func (c *Closure) addMissing(f File) {
	if _, there := c.files[f.Name]; !there {
		c.Add(f)
	}
}

// modTime is ModTime, or its default.
func (c *Closure) modTime() time.Time {
	if c.ModTime.IsZero() {
		return time.Unix(0, 0)
	}
	return c.ModTime
}
