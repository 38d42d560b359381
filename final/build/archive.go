package build

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"skiff.example/stage01-chroot/hint"
)

// ADD unpacks archives: their entries become those of the layer, below the
// destination. An archive is known by its content, not by its name.

// archive is a tar file, unpacked.
type archive struct {
	*tar.Reader
	first *tar.Header
	close func()
}

// Close lets go of it.
func (a *archive) Close() error { a.close(); return nil }

// openArchive opens what a file holds if that is an archive, and returns nil if it is
// something else; the file then is where it was.
func openArchive(f *os.File) (*archive, error) {
	var magic [6]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	a := &archive{close: func() {}}
	begins := func(text string) bool { return bytes.HasPrefix(magic[:n], []byte(text)) }
	var unpacked io.Reader = f
	switch {
	case begins("\x1f\x8b"):
		unpacked, err = gzip.NewReader(f)
	case begins("BZh"):
		unpacked, err = bzip2.NewReader(f), nil
	case begins("\x28\xb5\x2f\xfd"):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(f, zstd.WithDecoderConcurrency(1)); err == nil {
			unpacked, a.close = z, z.Close
		}
	case begins("\xfd7zXZ\x00"):
		return nil, hint.Add(errors.New("xz is not supported"), "unpack it first; or COPY takes the file as it is")
	default:
		err = nil
	}
	if err == nil {
		a.Reader = tar.NewReader(unpacked)
		if a.first, err = a.Next(); err == nil {
			return a, nil
		}
	}
	a.close()
	_, err = f.Seek(0, io.SeekStart) // not an archive
	return nil, err
}

// unpack packs the entries of an archive.
func (p *packer) unpack(a *archive) error {
	for h, err := a.first, error(nil); ; h, err = a.Next() {
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := p.repack(a, h); err != nil {
			return fmt.Errorf("archive: %q: %w", h.Name, err)
		}
	}
}

// repack packs one entry. Its name and its hard link stay below the destination; the
// names of its owners mean nothing here, the numbers do.
func (p *packer) repack(a *archive, old *tar.Header) error {
	if old.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := below(old.Name)
	if err != nil || name == "." { // the destination is the image's
		return err
	}
	h := &tar.Header{
		Typeflag: old.Typeflag, Linkname: old.Linkname, Size: old.Size, Mode: old.Mode, Uid: old.Uid, Gid: old.Gid,
		ModTime: old.ModTime, Devmajor: old.Devmajor, Devminor: old.Devminor, PAXRecords: map[string]string{},
	}
	if h.Typeflag == tar.TypeLink {
		if h.Linkname, err = below(old.Linkname); err != nil {
			return err
		}
		h.Linkname = strings.TrimPrefix(path.Join(p.dest, h.Linkname), "/")
	}
	for key, value := range old.PAXRecords {
		if strings.HasPrefix(key, xattrRecord) {
			h.PAXRecords[key] = value
		}
	}
	p.adjust(h, p.chown)
	if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse {
		h.Typeflag = tar.TypeReg
		return p.write(h, path.Join(p.dest, name), a)
	}
	return p.write(h, path.Join(p.dest, name), nil)
}

// below cleans a name of an archive, which must not lead out of it.
func below(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) {
		return "", errors.New("leads out of the archive")
	}
	return clean, nil
}
