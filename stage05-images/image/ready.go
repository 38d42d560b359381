package image

// Making ready what is in the store as blobs only: an image that came in an archive,
// that another tool has put into the layout, or whose unpacked layers were damaged
// and removed.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
)

// Ready is Find for who is about to run the image: what has blobs and no unpacked
// layers is unpacked. The blobs must be there, and hash to their names.
func (s *Store) Ready(ctx context.Context, word string) (img *Image, err error) {
	if img, err = s.Find(word); !errors.Is(err, fs.ErrNotExist) {
		return img, err
	}
	in, err := s.Ingest(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	d, err := s.entry(index, word)
	if err != nil {
		return nil, err
	}
	if err := in.unpackLayers(ctx, d); err != nil {
		return nil, hint.Add(fmt.Errorf("image %q: %w", word, err), "the store is damaged; pull the image again")
	}
	return s.Find(word)
}

// unpackLayers unpacks the layers of the manifest d, the lowest first.
func (in *Ingest) unpackLayers(ctx context.Context, d ocispec.Descriptor) error {
	manifest, err := in.store.manifest(d)
	if err != nil {
		return err
	}
	config, err := in.store.config(d)
	if err != nil {
		return err
	}
	var lower []string // topmost first
	for i, chain := range ChainIDs(config) {
		l := Layer{Blob: manifest.Layers[i], DiffID: config.RootFS.DiffIDs[i], ChainID: chain, Lower: lower}
		dir, fresh, err := in.Unpack(ctx, l)
		if err == nil && !fresh {
			err = in.verifyLayer(ctx, l) // another blob may have been unpacked into this folder
		}
		if err != nil {
			return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(manifest.Layers), Short(l.Blob.Digest), err)
		}
		lower = slices.Insert(lower, 0, dir)
	}
	return nil
}

// verifyLayer reads the blob of a layer and verifies its DiffID.
func (in *Ingest) verifyLayer(ctx context.Context, l Layer) error {
	blob, err := in.store.OpenBlob(l.Blob)
	if err != nil {
		return err
	}
	defer blob.Close()
	return untar(ctx, blob, l, func(tar io.Reader) error {
		_, err := io.Copy(io.Discard, tar)
		return err
	})
}

// give gives the image with the manifest d its name. Without a name it has a line in
// the index all the same, or Collect would remove it.
func (in *Ingest) give(ctx context.Context, name string, d ocispec.Descriptor) (*Image, error) {
	if name != "" {
		return in.Commit(ctx, name, d)
	}
	img, err := in.store.load("", d)
	if err != nil {
		return nil, err
	}
	if err := syncAll(in.store.dir); err != nil {
		return nil, err
	}
	return img, in.store.changeIndex(ctx, func(index *ocispec.Index) error {
		if !slices.ContainsFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == d.Digest }) {
			d.Platform = &img.Config.Platform
			index.Manifests = append(index.Manifests, d)
		}
		return nil
	})
}
