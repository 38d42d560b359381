package image

// The index: which references the store knows, and the manifest of each. It is
// index.json of image-spec image-layout.md; a reference stands in the
// annotation org.opencontainers.image.ref.name.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
)

// Image is an image that is ready to run.
type Image struct {
	Reference string        // in full, see Normalize
	Digest    digest.Digest // of the manifest
	Config    ocispec.Image // command, environment, platform …
	Layers    []string      // folders, topmost first, as overlayfs's lowerdir= wants them
}

// Entry is a line of the index.
type Entry struct {
	Reference string           // in full, see Normalize
	Digest    digest.Digest    // of the manifest
	Platform  ocispec.Platform // as the image's configuration says it
}

// Find returns the image of a reference, which need not be in full. When there
// is none, errors.Is(err, ErrNotFound).
func (s *Store) Find(ref string) (*Image, error) {
	full, err := Normalize(ref)
	if err != nil {
		return nil, err
	}
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	i := find(index, full)
	if i < 0 {
		return nil, hint.Add(fmt.Errorf("image %q: %w", ref, ErrNotFound), "pull it first")
	}
	img, err := s.load(full, index.Manifests[i])
	if err != nil {
		return nil, hint.Add(fmt.Errorf("image %q: %w", ref, err), "the store is damaged; pull the image again")
	}
	return img, nil
}

// List returns the images in the order in which they came.
func (s *Store) List() ([]Entry, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, d := range index.Manifests {
		e := Entry{Reference: d.Annotations[ocispec.AnnotationRefName], Digest: d.Digest}
		if e.Reference == "" {
			continue // put there by another tool: no name to call it by
		}
		if d.Platform != nil {
			e.Platform = *d.Platform
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Remove takes the reference out of the index; Collect then removes the
// content that no other reference needs. When there is no such reference,
// errors.Is(err, ErrNotFound).
func (s *Store) Remove(ref string) error {
	full, err := Normalize(ref)
	if err != nil {
		return err
	}
	return s.changeIndex(context.Background(), func(index *ocispec.Index) error {
		i := find(index, full)
		if i < 0 {
			return fmt.Errorf("remove image %q: %w", ref, ErrNotFound)
		}
		index.Manifests = slices.Delete(index.Manifests, i, i+1)
		return nil
	})
}

// find returns the place in the index of a full reference, or -1.
func find(index *ocispec.Index, full string) int {
	return slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return d.Annotations[ocispec.AnnotationRefName] == full
	})
}

// index reads index.json. It takes no lock: the file is replaced as a whole.
func (s *Store) index() (*ocispec.Index, error) {
	path := s.path(ocispec.ImageIndexFile)
	raw, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("parse %q: %w", path, err)
	}
	return &index, nil
}

// changeIndex lets change edit the index, alone.
func (s *Store) changeIndex(ctx context.Context, change func(*ocispec.Index) error) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index, err := s.index()
	if err != nil {
		return err
	}
	if err := change(index); err != nil {
		return err
	}
	return writeJSON(s.path(ocispec.ImageIndexFile), index)
}

// load reads the manifest and the configuration of an entry of the index and
// makes sure that each layer is there.
func (s *Store) load(full string, entry ocispec.Descriptor) (*Image, error) {
	config, err := s.config(entry)
	if err != nil {
		return nil, err
	}
	img := &Image{Reference: full, Digest: entry.Digest, Config: *config}
	for _, chain := range ChainIDs(config) {
		dir, err := s.addressed("layers", chain)
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(dir); err != nil {
			return nil, err
		}
		img.Layers = append(img.Layers, dir)
	}
	slices.Reverse(img.Layers)
	return img, nil
}

// config reads the configuration of the image with the manifest d.
func (s *Store) config(d ocispec.Descriptor) (*ocispec.Image, error) {
	raw, err := s.ReadJSON(d)
	if err != nil {
		return nil, err
	}
	manifest, err := ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	raw, err = s.ReadJSON(manifest.Config)
	if err != nil {
		return nil, err
	}
	return ParseConfig(raw, manifest)
}

// ReadJSON reads a blob of at most MaxJSON bytes and verifies its digest. When
// the store does not have it, errors.Is(err, fs.ErrNotExist).
func (s *Store) ReadJSON(d ocispec.Descriptor) ([]byte, error) {
	path, err := s.addressed("blobs", d.Digest)
	if err != nil {
		return nil, err
	}
	raw, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if got := d.Digest.Algorithm().FromBytes(raw); got != d.Digest {
		return nil, fmt.Errorf("read %q: %w", path, errors.New("its content does not match its name"))
	}
	return raw, nil
}

// ChainIDs returns the names of the unpacked layers of an image, lowest first.
// A layer's content depends on the layers below (its whiteouts were applied to
// them), so its name is a hash over all DiffIDs up to it: image-spec config.md.
func ChainIDs(config *ocispec.Image) []digest.Digest {
	return identity.ChainIDs(slices.Clone(config.RootFS.DiffIDs))
}
