package assemble

// Layers written by hand: a list of files, and what a layer says of the ones
// below.

import (
	"archive/tar"
	"io"
	"path"
	"time"
)

// File is one entry of a layer.
type File struct {
	tar.Header
	Content string
}

// Regular is a file with the given permissions.
func Regular(name, content string, mode int64) File {
	return File{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, content}
}

// Directory is a directory that everyone may enter.
func Directory(name string) File {
	return File{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, ""}
}

// Symlink is a symbolic link.
func Symlink(name, target string) File {
	return File{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

// Hardlink is another name of a file of this layer or of the layers below.
func Hardlink(name, target string) File {
	return File{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

// Whiteout deletes a file or directory of the layers below.
func Whiteout(name string) File {
	dir, base := path.Split(name)
	return Regular(dir+".wh."+base, "", 0o600)
}

// Opaque hides everything that the layers below have in a directory.
func Opaque(directory string) File {
	return Regular(path.Join(directory, ".wh..wh..opq"), "", 0o600)
}

// Files is the layer of these entries, in this order, owned by root and last
// changed in 1970.
func Files(files ...File) Layer {
	return func(w io.Writer) error {
		t := tar.NewWriter(w)
		for _, f := range files {
			f.Size = int64(len(f.Content))
			f.ModTime = time.Unix(0, 0)
			if err := t.WriteHeader(&f.Header); err != nil {
				return err
			}
			if _, err := io.WriteString(t, f.Content); err != nil {
				return err
			}
		}
		return t.Close()
	}
}
