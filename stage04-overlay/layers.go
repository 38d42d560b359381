package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// What is done with layers beside running on them: image-spec layer.md.

// unpack makes the directory dir and unpacks a layer in it. Lower are the
// layers below, topmost first. If it fails, nothing is left of dir.
func unpack(archive io.Reader, dir string, lower []string) (sum layer.Summary, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return sum, fmt.Errorf("unpack: %w", err)
	}
	if sum, err = layer.Apply(dir, archive, layer.Options{Lower: lower, UserXattr: overlay.WithoutRoot()}); err != nil {
		if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
			err = hint.Add(err, "a layer's files have owners; become root in a user namespace: unshare -r stage04 …")
		}
		return sum, errors.Join(err, journal.RemoveAll(dir))
	}
	return sum, nil
}

// commit makes the layer dir of what is in a writable layer: packed and unpacked
// above the same layers, as anybody else would do it. The digest of the packed
// form is what the rest of the world calls this layer by.
func commit(writable, dir string) (digest string, sum layer.Summary, err error) {
	lower, err := overlay.Lowers(writable)
	if err != nil {
		return "", sum, err
	}
	packed, err := pack(writable)
	if err != nil {
		return "", sum, err
	}
	defer packed.Close()
	hash := sha256.New()
	sum, err = unpack(io.TeeReader(packed, hash), dir, lower)
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), sum, err
}

// pack is a writable layer, or the directory of any other, as a tar file. A copy
// has no upper directory.
func pack(dir string) (io.ReadCloser, error) {
	if _, err := os.Stat(filepath.Join(dir, copyName)); err == nil {
		return nil, hint.Add(fmt.Errorf("%q: its container ran on a copy of the layers: what has changed since cannot be told", dir),
			"all of it can be packed: stage04 pack "+filepath.Join(dir, copyName))
	}
	if upper := filepath.Join(dir, "upper"); isWritable(dir) {
		dir = upper
	}
	var form []layer.WriteOption
	if overlay.WithoutRoot() {
		form = append(form, layer.UserXattr())
	}
	if os.Geteuid() != 0 {
		form = append(form, layer.Owner(0, 0)) // who root was in the container
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(layer.Write(w, dir, form...)) }()
	return r, nil // whose Close ends the writer
}

// isWritable tells whether dir is a writable layer, with an upper directory.
func isWritable(dir string) bool {
	_, err := overlay.Lowers(dir)
	return err == nil
}

// diff writes the names in a packed layer to w.
func diff(w io.Writer, packed io.Reader) error {
	for archive := tar.NewReader(packed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = fmt.Fprintln(w, header.Name)
		}
		if err != nil {
			return err
		}
	}
}

// list writes what a container on a writable layer sees, topmost first, with the
// disk that each directory takes.
func list(w io.Writer, writable string) error {
	dirs, err := overlay.Lowers(writable)
	if err != nil {
		return err
	}
	for _, dir := range append([]string{filepath.Join(writable, "upper")}, dirs...) {
		bytes, files, err := disk(dir)
		if err == nil {
			_, err = fmt.Fprintf(w, "%6d KiB in %5d files  %s\n", bytes/1024, files, dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isEmpty tells whether nothing is in a directory.
func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// disk is what a directory and all in it take of a disk, in bytes: stat(2),
// st_blocks. A file with two names counts once.
func disk(dir string) (bytes int64, files int, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil || seen[st.Ino] {
			return err
		}
		seen[st.Ino] = true
		bytes += st.Blocks * 512
		files++
		return nil
	})
	return bytes, files, err
}

// copyName is the copy of all layers in a writable layer.
const copyName = "copy"

// runOnCopy runs the container on a copy of the layers. It takes a name of its own
// when it is complete: one that is half done is never used.
func runOnCopy(ctx context.Context, o options, folder *state.Folder, layers overlay.Stack, argv []string) (err error) {
	if o.hasIDs() {
		return errors.New("--copy with --ids: the owners of copied files would have to be changed one by one")
	}
	root := filepath.Join(filepath.Dir(layers.Upper), copyName)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		half := root + ".half"
		if err := folder.Journal.Record("remove-all", half); err != nil {
			return err
		}
		began := time.Now()
		sum, err := layers.Copy(half)
		if err == nil {
			err = os.Rename(half, root)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(o.aside, "stage04: without overlayfs the container has a copy of all layers, %d MiB in %d files, that took %d ms: each container pays that anew, and what it changes cannot be told\n",
			sum.Bytes>>20, sum.Inodes, time.Since(began).Milliseconds())
	}
	box, err := newBox(o, root, argv)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Namespaces.Close()) }()
	return runBox(ctx, box)
}
