package overlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/namespace"
)

// The writable layer on the host: a directory with an upper and a work directory
// in it, as overlayfs.rst wants them, and the list of what is below.

// Prepare makes a container's writable layer: directories upper and work in
// dir, which is made too if it is missing. It returns the stack with lower
// below. After an error the caller removes dir. A writable layer that is there
// already goes on, if it was made above the same lower directories.
//
// The root directory of the mount is the upper directory, as far as mode and
// owner go. So it gets those of the topmost lower directory: with any other
// mode, users of the container could not enter "/", or write to it.
func Prepare(dir string, lower []string) (Stack, error) {
	s := Stack{
		Lower: lower, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"),
		UserXattr: WithoutRoot(),
	}
	err := s.check()
	if err == nil {
		s.OnePage, err = olderThan(6, 8)
	}
	if err == nil {
		err = s.prepare(dir)
	}
	if err != nil {
		return Stack{}, fmt.Errorf("writable layer %q: %w", dir, err)
	}
	return s, nil
}

// WithoutRoot tells whether this process lacks what only the host's root may do.
// Then its layers have overlayfs's marks in attributes user.*: Stack.UserXattr, and
// the same words in package layer.
func WithoutRoot() bool { return os.Geteuid() != 0 || !namespace.InFirstUser() }

// prepare makes what is missing in dir.
func (s *Stack) prepare(dir string) error {
	// 0700 keeps other users out of what containers write, with its
	// set-user-ID programs (CVE-2021-41103).
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := remember(dir, s.Lower); err != nil {
		return err
	}
	if err := s.shorten(dir); err != nil {
		return err
	}
	if err := os.Mkdir(s.Work, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := os.Mkdir(s.Upper, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // with the mode that the container may have given it
	}
	if err != nil {
		return err
	}
	return likeRoot(s.Upper, s.Lower[0])
}

// lowerFile is the list of lower directories in that of a writable layer.
const lowerFile = "lower.json"

// remember writes the list, or compares it: above other lower directories an
// upper one means something else, and overlayfs calls that undefined.
func remember(dir string, lower []string) error {
	text, err := json.Marshal(lower)
	if err != nil {
		return err
	}
	was, err := os.ReadFile(filepath.Join(dir, lowerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(filepath.Join(dir, lowerFile), text, 0o600)
	}
	if err == nil && !bytes.Equal(was, text) {
		err = hint.Add(fmt.Errorf("it was made above other layers, %s: %w", was, unix.EINVAL), "name the same ones, or another writable layer")
	}
	return err
}

// Lowers are the lower directories above which the writable layer in dir was made.
func Lowers(dir string) (lower []string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, lowerFile))
	if err == nil {
		err = json.Unmarshal(text, &lower)
	}
	if err != nil {
		return nil, hint.Add(fmt.Errorf("writable layer %q: %w", dir, err), "it must be one that a container was given to write to")
	}
	return lower, nil
}

// Lock makes sure that no other container uses the writable layer in dir until
// the file is closed: overlayfs lets two do it, with a line in the kernel's log,
// and what they see then is undefined. The lock ends with the process: flock(2).
func Lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock writable layer: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		err = hint.Add(unix.EBUSY, "another container uses it; each one wants a writable layer of its own")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock writable layer %q: %w", dir, err), f.Close())
	}
	return f, nil
}

// likeRoot gives a directory the owner and then, as chown clears bits of it,
// the mode of another one.
func likeRoot(dir, model string) error {
	var st unix.Stat_t
	if err := unix.Stat(model, &st); err != nil {
		return fmt.Errorf("stat %q: %w", model, err)
	}
	if err := unix.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", st.Uid, st.Gid, err)
	}
	if err := unix.Chmod(dir, st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod to %#o: %w", st.Mode&0o7777, err)
	}
	return nil
}
