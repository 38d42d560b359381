// Going through the groups below a group. A container that may write to its
// groups nests them as deep as it likes, and from 4096 bytes on (PATH_MAX) no
// path names what is down there. So this goes by descriptors, openat(2): one
// step down by the name, one up by "..", which in a cgroup file system leads
// nowhere else, since no group can be moved below another. Two descriptors are
// open at a time, whatever the depth.

package cgroup

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// walkTimeout bounds a walk: somebody inside may make groups as fast as we find
// them.
const walkTimeout = 10 * time.Second

// level is a group on the way down, and the groups in it that are still to do.
type level struct {
	name string
	todo []string
}

// walk goes through the group dir and all below it. It calls enter with the
// descriptor of each group before those in it, and leave with the descriptor of
// the group above and the name after them; either may be nil. Groups that vanish
// meanwhile are left out. What fails in one group is no reason to spare the
// others: the first error is returned in the end.
func walk(dir string, enter func(group int) error, leave func(above int, name string) error) error {
	here, err := openGroup(unix.AT_FDCWD, path.Dir(dir))
	if errNotThere(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup: open %q: %w", path.Dir(dir), err)
	}
	defer func() { here.Close() }()
	var failed error
	deadline := time.Now().Add(walkTimeout)
	for way := []level{{todo: []string{path.Base(dir)}}}; ; {
		if time.Now().After(deadline) {
			return cmp.Or(failed, fmt.Errorf("cgroup: go through the groups below %q: %w", dir, unix.ETIMEDOUT))
		}
		last := &way[len(way)-1]
		if n := len(last.todo); n > 0 {
			name := last.todo[n-1]
			last.todo = last.todo[:n-1]
			group, below, err := down(here, name)
			if err == nil && enter != nil {
				err = enter(int(group.Fd()))
			}
			if group != nil {
				here.Close()
				here, way = group, append(way, level{name, below})
			}
			failed = cmp.Or(failed, problem(dir, name, err))
			continue
		}
		if len(way) == 1 {
			return failed
		}
		above, err := openGroup(int(here.Fd()), "..")
		if err != nil {
			return cmp.Or(failed, problem(dir, last.name, err))
		}
		here.Close()
		here, way = above, way[:len(way)-1]
		if leave != nil {
			failed = cmp.Or(failed, problem(dir, last.name, leave(int(here.Fd()), last.name)))
		}
	}
}

// down opens the group called name, and lists those in there.
func down(here *os.File, name string) (group *os.File, below []string, err error) {
	if group, err = openGroup(int(here.Fd()), name); err != nil {
		return nil, nil, err
	}
	entries, err := group.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			below = append(below, e.Name())
		}
	}
	return group, below, err
}

// problem says in which group it failed, unless that one is gone.
func problem(dir, name string, err error) error {
	if err == nil || errNotThere(err) {
		return nil
	}
	return fmt.Errorf("cgroup: group %q of those at %q: %w", name, dir, err)
}

// openGroup opens a directory, and follows no link. Its error is the bare errno.
func openGroup(above int, name string) (*os.File, error) {
	fd, err := unix.Openat(above, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
