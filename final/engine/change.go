package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs/inroot"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage04-overlay/overlay"
	"skiff.example/stage05-images/image"
)

// Running for what a program writes: a step of a build.

// Change runs o.Entrypoint on an image that need not have a name, and returns the
// exit status. After status 0, changed gets the directory of what the program has
// written, an overlay's upper one; then the container is unmade. The caller keeps
// the image from being collected, and has unmade what killed commands left.
func (e *Engine) Change(ctx context.Context, img *image.Image, o Options, changed func(upper string) error) (status int, err error) {
	o.Name = newID()
	run, err := e.newRun(img, o)
	if err != nil {
		return 0, err
	}
	config := run.config()
	var stubs []string
	config.Prepare = func(j *journal.Journal) (layers func(*plan.Plan) error, err error) {
		if layers, err = run.prepare(j); err == nil {
			stubs, err = run.stubs()
		}
		return layers, err
	}
	config.Ended = func() error {
		upper := filepath.Join(run.folder, "upper")
		if err := removeStubs(upper, stubs); err != nil {
			return err
		}
		return changed(upper)
	}
	return e.run(ctx, config)
}

// stubs are the places of the container's mounts that its image does not have, and
// the directories on the way: what is made only to be mounted on is no change. The
// deepest come first.
func (r *run) stubs() (names []string, err error) {
	view, err := overlay.View(r.image.Layers)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	root, err := inroot.Open(fmt.Sprintf("/proc/self/fd/%d", view.Fd()))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, m := range r.spec.Mounts {
		for name := path.Clean(m.Destination); name != "/"; name = path.Dir(name) {
			there, err := root.Lookup(name, unix.O_PATH)
			if err == nil {
				there.Close()
				break
			}
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return names, nil
}

// removeStubs removes those that are empty.
func removeStubs(upper string, names []string) error {
	root, err := inroot.Open(upper)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range names {
		if err := removeStub(root, name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOTDIR) {
			return fmt.Errorf("remove mount point %q: %w", name, err)
		}
	}
	return nil
}

// removeStub removes an empty directory or file.
func removeStub(root *inroot.Root, name string) error {
	dir, err := root.Lookup(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	st, err := inroot.Stat(dir, path.Base(name))
	switch {
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.Unlinkat(int(dir.Fd()), path.Base(name), unix.AT_REMOVEDIR)
	case st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == 0:
		return unix.Unlinkat(int(dir.Fd()), path.Base(name), 0)
	}
	return nil
}
