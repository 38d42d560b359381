package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The plan performed: as an archive, tar(5), or as a directory. A directory is
// made by unpacking the archive, so that the two cannot differ.

// Tar writes the root file system as an uncompressed archive. The same plan
// gives the same bytes: files are sorted, belong to root and have one time.
func (c *Closure) Tar(w io.Writer) error {
	return c.tar(w, c.Files())
}

func (c *Closure) tar(w io.Writer, files []File) error {
	archive := tar.NewWriter(w)
	for _, file := range files {
		if err := c.tarFile(archive, file); err != nil {
			return fmt.Errorf("write %q to archive: %w", file.Name, err)
		}
	}
	return archive.Close()
}

// Write makes the directory dir, if it is missing, and the root file system in
// it. What is in dir already stays, unless the plan has another file of the
// same name; dir itself gets mode 0755 and the time of all files. The same plan
// gives the same tree, whenever, and under any umask.
//
// An ordinary user can do it too, as far as the programs can be read; the files
// are then the user's own.
func (c *Closure) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		root := File{Name: ".", Mode: fs.ModeDir | 0o755, Why: "the root itself"}
		w.CloseWithError(c.tar(w, append([]File{root}, c.Files()...))) // the reader returns the error
	}()
	err := Limits{MaxBytes: -1, MaxInodes: -1}.FromTar(dir, r)
	r.CloseWithError(err) // the writer ends, also if we gave up
	<-done
	return err
}

func (c *Closure) tarFile(archive *tar.Writer, file File) error {
	header := &tar.Header{
		Name:     file.Name,
		Mode:     unixMode(file.Mode),
		ModTime:  c.modTime(),
		Linkname: file.Link,
	}
	switch file.Mode.Type() {
	case fs.ModeDir:
		header.Typeflag = tar.TypeDir
		header.Name += "/"
		return archive.WriteHeader(header)
	case fs.ModeSymlink:
		header.Typeflag = tar.TypeSymlink
		return archive.WriteHeader(header)
	case 0:
		header.Typeflag = tar.TypeReg
		return tarContents(archive, header, file)
	}
	return fmt.Errorf("a %v cannot be in a plan", file.Mode.Type())
}

// tarContents writes a regular file. The size is what the source has now: one
// that grows meanwhile is cut there, one that shrinks is an error of archive.
func tarContents(archive *tar.Writer, header *tar.Header, file File) error {
	if file.Source == "" {
		header.Size = int64(len(file.Data))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := archive.Write(file.Data)
		return err
	}
	source, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.CopyN(archive, source, header.Size)
	return err
}

// unixMode are the permission bits as chmod(2) has them; Go keeps the upper
// three elsewhere.
func unixMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	for _, bit := range []struct {
		goBit fs.FileMode
		bit   int64
	}{{fs.ModeSetuid, unix.S_ISUID}, {fs.ModeSetgid, unix.S_ISGID}, {fs.ModeSticky, unix.S_ISVTX}} {
		if mode&bit.goBit != 0 {
			bits |= bit.bit
		}
	}
	return bits
}
