package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The option "tmpcopyup": a new tmpfs begins with what it covers, so that a
// read-only image can have a writable /etc. Each copied file is a few steps,
// tmpfs(5), sendfile(2); they are done before the tmpfs is put in place.
//
// Type, contents, permissions, owner and times are copied; hard links become
// files of their own, and extended attributes are left.

// maxCopied is how many entries are copied for one container, at most: each is
// up to nine of the at most 65,536 steps of a plan (machine.MaxOps).
const maxCopied = 4096

// maxCopiedFile is the size of the largest file that copyFile copies whole, in
// bytes: a sendfile(2) moves at most 2 GiB less a page.
const maxCopiedFile = 0x7ffff000

const useVolume = "use a volume for that much, or a writable root"

// An entry is a file, directory … to be copied.
type entry struct {
	name   string // below the mount point; "." is that itself
	stat   unix.Stat_t
	target string // of a symbolic link
}

// kind is the file type: S_IFREG …
func (e entry) kind() uint32 { return e.stat.Mode & unix.S_IFMT }

// copied lists what a tmpfs with "tmpcopyup" begins with: each directory before
// what is in it. Without the option it is nothing.
func (r *Root) copied(m specs.Mount, o Options, place string) ([]entry, error) {
	if !o.TmpCopyUp {
		return nil, nil
	}
	if m.Type != "tmpfs" {
		return nil, fmt.Errorf("mount %q on %q: option \"tmpcopyup\" is for tmpfs only", m.Type, m.Destination)
	}
	fail := func(err error) error {
		return fmt.Errorf("mount %q: option \"tmpcopyup\": %w", m.Destination, err)
	}
	top, err := r.view.open(place, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err)
	}
	defer top.Close()
	l := lister{left: maxCopied - r.copies}
	if err := l.directory(top, "."); err != nil {
		return nil, fail(err)
	}
	r.copies += len(l.entries)
	return l.entries, nil
}

// A lister walks a directory by descriptors, and follows no link: whoever
// changes the tree meanwhile cannot lead it out.
type lister struct {
	entries []entry
	left    int
}

// directory lists one directory, which is open, and all below it.
func (l *lister) directory(dir *os.File, name string) error {
	names, err := dir.Readdirnames(l.left + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	e := entry{name: name}
	if err := unix.Fstat(int(dir.Fd()), &e.stat); err != nil {
		return fmt.Errorf("%q: %w", tail(name), err)
	}
	l.entries = append(l.entries, e)
	if l.left -= len(names); l.left < 0 {
		return hint.Add(fmt.Errorf("more than %d files to copy: %w", maxCopied, unix.EMFILE),
			useVolume)
	}
	slices.Sort(names)
	for _, child := range names {
		if err := l.child(dir, child, path.Join(name, child)); err != nil {
			return err
		}
	}
	return nil
}

// child lists one entry of a directory.
func (l *lister) child(dir *os.File, base, name string) error {
	e := entry{name: name}
	err := unix.Fstatat(int(dir.Fd()), base, &e.stat, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("%q: %w", tail(name), err)
	}
	switch e.kind() {
	case unix.S_IFDIR:
		fd, err := unix.Openat(int(dir.Fd()), base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%q: %w", tail(name), err)
		}
		sub := os.NewFile(uintptr(fd), name)
		defer sub.Close()
		return l.directory(sub, name)
	case unix.S_IFLNK:
		text := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(int(dir.Fd()), base, text)
		if err != nil {
			return fmt.Errorf("%q: %w", tail(name), err)
		}
		e.target = string(text[:n])
	case unix.S_IFREG:
		if e.stat.Size > maxCopiedFile {
			return hint.Add(fmt.Errorf("%q: %d bytes: %w", tail(name), e.stat.Size, unix.EFBIG), useVolume)
		}
	}
	l.entries = append(l.entries, e)
	return nil
}

// copyUp adds the steps that make the entries in the mount to, which is
// attached nowhere yet; from is the directory that it will cover.
func (r *Root) copyUp(entries []entry, from, to plan.FD, dest string) {
	for _, e := range entries {
		at := tail(path.Join(dest, e.name))
		for _, s := range r.copySteps(e, from, to) {
			r.plan.Add(s.Doing("copy %q into the tmpfs on %q", at, dest).
				Hint(unix.ENOENT, "somebody has changed the directory while it was copied").
				Hint(unix.ENOSPC, "the tmpfs is too small for what it is to begin with: see its option size="))
		}
	}
	// The times of a directory change with each entry made in it.
	for _, e := range slices.Backward(entries) {
		if e.kind() == unix.S_IFDIR {
			r.plan.Add(plan.Utimensat(to, e.name, e.stat.Atim, e.stat.Mtim).
				Doing("copy the times of %q", tail(path.Join(dest, e.name))))
		}
	}
}

// copySteps are the steps for one entry.
func (r *Root) copySteps(e entry, from, to plan.FD) (steps []plan.Step) {
	permissions := r.permissions(e)
	switch e.kind() {
	case unix.S_IFDIR:
		if e.name == "." {
			return r.owner(e, to) // its mode is an option of the tmpfs
		}
		steps = append(steps, plan.Mkdirat(to, e.name, permissions))
	case unix.S_IFLNK:
		steps = append(steps, plan.Symlinkat(e.target, to, e.name))
	case unix.S_IFREG:
		steps = r.copyFile(e, from, to)
	default:
		steps = append(steps, plan.Mknodat(to, e.name, e.stat.Mode, e.stat.Rdev))
	}
	steps = append(steps, r.owner(e, to)...)
	if e.kind() != unix.S_IFLNK { // chown(2) takes set-user-ID away, so the mode comes after it
		steps = append(steps, plan.Fchmodat(to, e.name, permissions))
	}
	if e.kind() != unix.S_IFDIR {
		steps = append(steps, plan.Utimensat(to, e.name, e.stat.Atim, e.stat.Mtim))
	}
	return steps
}

// copyFile is the steps for a file and its contents. It is opened by the child
// below the very directory that will be covered, and no link is followed; nor
// does a FIFO in its place keep the child waiting (O_NONBLOCK).
//
// The second sendfile(2) meets the end of the file, or the reason why the
// first one has stopped early.
func (r *Root) copyFile(e entry, from, to plan.FD) []plan.Step {
	in, out := r.plan.Register("in"), r.plan.Register("out")
	return []plan.Step{
		plan.Openat2(from, e.name, unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
		}).Into(in),
		plan.Openat2(to, e.name, unix.OpenHow{
			Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC,
			Mode:  uint64(e.stat.Mode & 0o777),
		}).Into(out),
		plan.Sendfile(out, in),
		plan.Sendfile(out, in),
		plan.Close(in),
		plan.Close(out),
	}
}

// permissions are those of an entry. Where its owner is nobody in the
// container's user namespace, the kernel heeds no set-user-ID (user_namespaces(7),
// "Set-user-ID and set-group-ID programs"). The copy belongs to its root, and
// must not make every user into that.
func (r *Root) permissions(e entry) uint32 {
	permissions := e.stat.Mode &^ unix.S_IFMT
	if r.user == nil {
		return permissions
	}
	if _, ok := inContainer(e.stat.Uid, r.user.uids); !ok {
		permissions &^= unix.S_ISUID
	}
	if _, ok := inContainer(e.stat.Gid, r.user.gids); !ok {
		permissions &^= unix.S_ISGID
	}
	return permissions
}

// owner is the step that gives an entry to its owner, if that is not who makes
// it. In a user namespace an owner who has no place in it remains its root.
func (r *Root) owner(e entry, to plan.FD) []plan.Step {
	uid, gid := int(e.stat.Uid), int(e.stat.Gid)
	if r.user != nil {
		uid, _ = inContainer(e.stat.Uid, r.user.uids)
		gid, _ = inContainer(e.stat.Gid, r.user.gids)
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	return []plan.Step{plan.Fchownat(to, e.name, uid, gid)}
}

// inContainer is an id of the host as the container's user namespace has it.
func inContainer(id uint32, maps []specs.LinuxIDMapping) (mapped int, ok bool) {
	for _, m := range maps {
		if id >= m.HostID && uint64(id) < uint64(m.HostID)+uint64(m.Size) {
			return int(id - m.HostID + m.ContainerID), true
		}
	}
	return 0, false
}

// tail is the end of a long name: a tree can be a thousand folders deep, and an
// error is for a screen.
func tail(name string) string {
	const most = 200
	if len(name) <= most {
		return name
	}
	return "…" + name[len(name)-most:]
}
