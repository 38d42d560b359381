package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/inroot"
	"skiff.example/stage04-overlay/overlay"
)

// Looking into an image: names mean what they would mean to a process in it.

// view is what an image shows, or nothing if it has no layers.
type view struct {
	root  *inroot.Root
	mount *os.File
}

// look opens the view of what a stage has come to. The caller closes it.
func (s *stage) look() (v *view, err error) {
	if len(s.dirs) == 0 {
		return &view{}, nil
	}
	v = &view{}
	if v.mount, err = overlay.View(s.dirs); err != nil {
		return nil, err
	}
	if v.root, err = inroot.Open(fmt.Sprintf("/proc/self/fd/%d", v.mount.Fd())); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// Close gives the view up.
func (v *view) Close() error {
	var err error
	if v.root != nil {
		err = v.root.Close()
	}
	if v.mount != nil {
		err = errors.Join(err, v.mount.Close())
	}
	return err
}

// mode is the type of a file, 0 if there is none; with O_NOFOLLOW, of a link itself.
func (v *view) mode(name string, flags int) (uint16, error) {
	if v.root == nil {
		return 0, nil
	}
	f, err := v.root.Lookup(name, unix.O_PATH|flags)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := inroot.Statx(f)
	return st.Mode & unix.S_IFMT, err
}

// rooted makes io/fs's Glob look into a root: links lead nowhere else.
type rooted struct{ root *inroot.Root }

// Open implements fs.FS, for directories.
func (r rooted) Open(name string) (fs.File, error) {
	return r.root.Lookup(name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// Stat implements fs.StatFS. It wakes no device and waits for no FIFO.
func (r rooted) Stat(name string) (fs.FileInfo, error) {
	f, err := r.root.Lookup(name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}
