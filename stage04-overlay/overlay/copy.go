package overlay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage04-overlay/layer"
)

// What to do without overlayfs: a copy of all that the stack would show. It costs
// the time and the disk of the whole image, for each container, and what has
// changed since cannot be told any more. Everything else works as before.

// refusedHint is where the kernel says no more than EINVAL.
const refusedHint = "the file system of the writable layer may be one that overlayfs cannot write to: an overlay itself, NFS, one without extended attributes"

// Refused tells whether err is that of a step by which overlayfs itself was
// refused, and not one of the directories: the kernel lacks it, a security module
// forbids it, or it does not take the file system of the writable layer.
func Refused(err error) bool {
	var failed *plan.Error
	if !errors.As(err, &failed) || failed.Step.Chapter != chapter {
		return false
	}
	switch failed.Step.Call() {
	case "fsopen", "fsmount":
		return true
	case "fsconfig", "mount":
		return slices.Contains([]unix.Errno{unix.ENODEV, unix.EPERM, unix.EACCES, unix.EINVAL, unix.EOPNOTSUPP}, failed.Errno)
	}
	return false
}

// Copy writes what the stack would show of its lower directories to dir, which it
// makes. After an error the caller removes dir. It returns how much it wrote.
func (s Stack) Copy(dir string) (sum layer.Summary, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return sum, fmt.Errorf("copy the layers: %w", err)
	}
	for _, lower := range slices.Backward(s.Lower) {
		one, err := s.addCopy(dir, lower)
		if err != nil {
			return sum, fmt.Errorf("copy layer %q: %w", lower, err)
		}
		sum.Bytes += one.Bytes
		sum.Inodes += one.Inodes
	}
	return sum, nil
}

// addCopy copies one layer over what is in dir. The layer is packed and unpacked
// again, through a pipe: that keeps all attributes, and links.
func (s Stack) addCopy(dir, lower string) (layer.Summary, error) {
	if err := hide(dir, lower); err != nil {
		return layer.Summary{}, err
	}
	var form []layer.WriteOption
	if s.UserXattr {
		form = append(form, layer.UserXattr())
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(layer.Write(w, lower, form...)) }()
	defer r.Close() // ends the writer, should it still write
	return layer.Apply(dir, r, layer.Options{UserXattr: s.UserXattr, MaxBytes: -1, MaxInodes: -1})
}

// hide removes from dir what the layer lower hides: below its whiteouts and opaque
// directories, and where it has something else than a directory, or where dir has.
// So a link in dir is gone before anything of the layer is written behind it.
func hide(dir, lower string) error {
	entries, err := os.ReadDir(lower)
	if err != nil {
		return err
	}
	if opaque(lower) {
		there, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range there {
			if err := journal.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		mine := filepath.Join(dir, e.Name())
		info, err := os.Lstat(mine)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil && e.IsDir() && info.IsDir() {
			err = hide(mine, filepath.Join(lower, e.Name()))
		} else if err == nil {
			err = journal.RemoveAll(mine)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// opaque tells whether a directory of a layer hides what is below it.
func opaque(dir string) bool {
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		value := make([]byte, 1)
		if n, err := unix.Lgetxattr(dir, name, value); err == nil && string(value[:n]) == "y" {
			return true
		}
	}
	return false
}
