// Package image is a content-addressed store of container images in one folder.
//
// The folder is an OCI image layout, so that other tools (skopeo, umoci, crane)
// read it as it is; beside it lie the layers, unpacked, ready to be stacked by
// overlayfs:
//
//	oci-layout                  "this is an image layout", with its version
//	index.json                  the images: reference → digest of a manifest
//	blobs/<algorithm>/<hex>     manifests, configurations and compressed layers
//	layers/<algorithm>/<hex>    unpacked layers, named by ChainID
//	lock, locks/, held          flock(2): who may write what, and that nothing is removed
//	partial/                    what has arrived of a layer's blob, see stream.go
//	tmp/<writer>/               what a live writer has not finished yet
//	boot                        the machine's boot_id when this was last swept, see sweep
//
// A name is what the bytes hash to, so a file that is there is complete and
// never changes: it is written under tmp/ and moved with rename(2). What a
// killed writer leaves lies under tmp/, and the next Open removes it.
//
// See image-spec image-layout.md and config.md (ChainID).
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	// The algorithms of image-spec descriptor.md; a digest whose hash is not
	// linked in is refused by go-digest.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// MaxJSON is the greatest size in bytes of an index, a manifest or an image
// configuration. A registry may send anything, and JSON is read as a whole
// (CVE-2023-25153); distribution-spec asks for at least 4 MiB.
const MaxJSON = 4 << 20

// ErrNotFound says that the store has no image of a given reference.
var ErrNotFound = errors.New("no such image in the store")

// errNotAStore says that Open was given a folder of something else.
var errNotAStore = errors.New("the folder is not empty, and it is no image layout")

// Store is a folder of images. Its methods may be called from any number of
// goroutines and processes at once.
type Store struct {
	dir string // absolute
}

// Open returns the store in the folder dir, which it creates (mode 0700) if it
// is not there. It removes what a killed writer has left.
//
// A folder that cannot be written is an error with a hint.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s := &Store{dir: dir}
	if err := s.prepare(); err != nil {
		return nil, hint.Add(fmt.Errorf("open image store %q: %w", dir, err), hintFor(err))
	}
	return s, nil
}

// prepare makes the files and folders of an empty layout. oci-layout comes
// first: with it a folder says that it is a store, see ours.
func (s *Store) prepare() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	// mkdir(2) of a folder that exists passes on a read-only mount as well.
	if err := unix.Access(s.dir, unix.W_OK); err != nil {
		return err
	}
	if err := s.ours(); err != nil {
		return err
	}
	trash, err := s.prepareLocked()
	return errors.Join(err, trash.Close())
}

// prepareLocked is the part of prepare that one process at a time does.
func (s *Store) prepareLocked() (trash *Ingest, err error) {
	unlock, err := s.lock(context.Background())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.prepareLayout(); err != nil {
		return nil, err
	}
	for _, name := range []string{"blobs", "layers", "locks", "partial", "tmp"} {
		if err := privateFolder(s.path(name)); err != nil {
			return nil, err
		}
	}
	return s.sweep()
}

// ours refuses a folder that holds something and is not an image layout. A
// store removes what it finds under tmp/ and what its index does not name; in
// a folder of something else that would be a disaster.
func (s *Store) ours() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	isStore := func() bool {
		_, err := os.Lstat(s.path(ocispec.ImageLayoutFile))
		return err == nil
	}
	for _, e := range entries {
		// These two may be there before oci-layout: another process opens
		// the same new folder right now, or was killed when it did.
		if e.Name() == "lock" || e.Name() == ocispec.ImageLayoutFile+".new" || isStore() {
			continue
		}
		return errNotAStore
	}
	return nil
}

// prepareLayout writes oci-layout and index.json if they are not there, and
// refuses a layout of another version. The caller holds the lock.
func (s *Store) prepareLayout() error {
	var layout ocispec.ImageLayout
	raw, err := readBounded(s.path(ocispec.ImageLayoutFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		layout.Version = ocispec.ImageLayoutVersion
		if err := writeJSON(s.path(ocispec.ImageLayoutFile), layout); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(raw, &layout); err != nil {
			return fmt.Errorf("parse %q: %w", ocispec.ImageLayoutFile, err)
		}
		if layout.Version != ocispec.ImageLayoutVersion {
			return fmt.Errorf("%q: version %q, want %q", ocispec.ImageLayoutFile, layout.Version, ocispec.ImageLayoutVersion)
		}
	}
	if _, err := os.Lstat(s.path(ocispec.ImageIndexFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	empty := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	return writeJSON(s.path(ocispec.ImageIndexFile), empty)
}

// path returns the path of a file that the store itself names.
func (s *Store) path(name ...string) string {
	return filepath.Join(append([]string{s.dir}, name...)...)
}

// addressed returns the path below kind ("blobs", "layers") of what has the
// digest d. A digest comes from a registry as a string: "sha256:../../etc" is
// one as well, so nothing becomes a path before it is validated (CVE-2024-3727).
func (s *Store) addressed(kind string, d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", d, err)
	}
	return s.path(kind, d.Algorithm().String(), d.Encoded()), nil
}

// OpenBlob opens a blob. It is not verified: who reads it does that.
func (s *Store) OpenBlob(d ocispec.Descriptor) (*os.File, error) {
	path, err := s.addressed("blobs", d.Digest)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// privateFolder makes dir. Below it lie files of images with their set-user-id
// bits: no other user of the host may get there (CVE-2021-41103), so a folder
// with wider permissions is narrowed.
func privateFolder(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, 0o700)
}

// hintFor returns the advice for a folder that cannot be used.
func hintFor(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "the file system is mounted read-only; choose a folder on a writable one"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root, or choose a folder that you own"
	case errors.Is(err, errNotAStore):
		return "choose an empty folder, or one that does not exist yet"
	case errors.Is(err, unix.ENOTDIR):
		return "a file is in the way; choose another folder"
	}
	return ""
}
