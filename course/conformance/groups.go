package conformance

// This file makes the control groups that a program's world begins at, one in
// every hierarchy of version 1 (cgroups(7)), and removes them with all that
// the program left below them. As the world has a cgroup namespace
// (cgroup_namespaces(7)), /cgrouptest there is a group below ours.
//
// The programs understand version 1 only. The hierarchy of version 2 that a
// hybrid machine has beside it is left out: crun 1.8 does not start beside
// one, and all runtimes shall find the same.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// hierarchies is the folder below which they are mounted.
const hierarchies = "/sys/fs/cgroup"

// ErrNoGroups is in the error of a machine that the suite was not written for.
var ErrNoGroups = errors.New("no control groups of version 1: the suite understands no others")

// groups are a world's control groups.
type groups struct {
	name  string
	below []hierarchy
}

// hierarchy is a mounted hierarchy of version 1.
type hierarchy struct {
	dir     string // its mount point
	options string // which controllers: "cpu,cpuacct", "name=systemd"
}

// worlds counts the worlds of this process.
var worlds atomic.Int64

// makeGroups makes a group in every hierarchy. On an error, too, it returns
// what there is to remove.
func makeGroups() (*groups, error) {
	g := &groups{name: fmt.Sprintf("skiff-conformance-%d-%d", os.Getpid(), worlds.Add(1))}
	found, err := findHierarchies()
	if err != nil {
		return g, err
	}
	for _, h := range found {
		group := filepath.Join(h.dir, g.name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return g, err
		}
		g.below = append(g.below, h)
		// A new cpuset is empty, and nothing may enter it (cpuset(7)).
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(h.dir, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(group, file), value, 0)
			}
			if err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

// findHierarchies reads which hierarchies are mounted (proc_pid_mountinfo(5)).
func findHierarchies() ([]hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 || right[0] != "cgroup" || filepath.Dir(left[4]) != hierarchies {
			continue
		}
		var options []string
		for _, option := range strings.Split(right[2], ",") {
			if option != "rw" && option != "ro" && option != "xattr" && !strings.HasPrefix(option, "release_agent=") {
				options = append(options, option)
			}
		}
		found = append(found, hierarchy{dir: left[4], options: strings.Join(options, ",")})
	}
	if len(found) == 0 {
		return nil, hint.Add(fmt.Errorf("below %s: %w", hierarchies, ErrNoGroups),
			"boot with systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
	}
	return found, nil
}

// enter moves the calling thread into the groups: version 1 takes single
// threads.
func (g *groups) enter() error {
	for _, h := range g.below {
		tasks := filepath.Join(h.dir, g.name, "tasks")
		if err := os.WriteFile(tasks, []byte(strconv.Itoa(unix.Gettid())), 0); err != nil {
			return err
		}
	}
	return nil
}

// mount mounts the hierarchies again, in the calling thread's mount namespace
// and as its cgroup namespace shows them.
func (g *groups) mount() error {
	if err := unix.Mount("tmpfs", hierarchies, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf(`mount "tmpfs" on %q: %w`, hierarchies, err)
	}
	for _, h := range g.below {
		if err := os.Mkdir(h.dir, 0o755); err != nil {
			return err
		}
		options := h.options
		if strings.HasPrefix(options, "name=") {
			options = "none," + options
		}
		if err := unix.Mount("cgroup", h.dir, "cgroup", 0, options); err != nil {
			return fmt.Errorf("mount control groups %q on %q: %w", h.options, h.dir, err)
		}
	}
	return nil
}

// all returns the folders of all groups of the world, the lowest first.
func (g *groups) all() ([]string, error) {
	var dirs []string
	for _, h := range g.below {
		err := filepath.WalkDir(filepath.Join(h.dir, g.name), func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // removed, just now or before
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Reverse(dirs)
	return dirs, nil
}

// whileThawing calls f and thaws all groups for as long as it takes after the
// end of ctx: what is frozen in a hierarchy of version 1 does not even die of
// SIGKILL.
func (g *groups) whileThawing(ctx context.Context, f func() error) error {
	done := make(chan struct{})
	defer close(done)
	defer context.AfterFunc(ctx, func() {
		for {
			g.thaw()
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	})()
	return f()
}

// thaw thaws all groups. What it could not thaw stays busy, and remove says so.
func (g *groups) thaw() {
	dirs, _ := g.all()
	for _, dir := range dirs {
		file := filepath.Join(dir, "freezer.state")
		if state, err := os.ReadFile(file); err == nil && !bytes.HasPrefix(state, []byte("THAWED")) {
			_ = os.WriteFile(file, []byte("THAWED"), 0)
		}
	}
}

// remove removes all groups. The kernel may need a moment for processes that
// have just ended, and for the thread that was in them.
func (g *groups) remove() error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		dirs, err := g.all()
		if err != nil {
			return err
		}
		var left error
		for _, dir := range dirs {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				left = errors.Join(left, err)
			}
		}
		if left == nil || time.Now().After(end) {
			return left
		}
	}
}

// patience is how long groups may stay busy.
const patience = 5 * time.Second
