package image

// Writing an archive: one tar file that is an OCI archive and a docker archive at
// once, as docker writes them since version 25. The blobs lie in it as they lie in
// the store, so that the image that is loaded from it has the same digest; index.json
// says to the one kind of reader, and manifest.json to the other, which they are.

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Save writes an archive of the images that the words mean, see Find. A word that is
// a name becomes a name in the archive; a digest gives an image without one. The same
// images in the same order give the same bytes.
//
// Each blob is verified while it is written. After an error w has a part of an archive.
func (s *Store) Save(ctx context.Context, w io.Writer, words ...string) error {
	release, err := s.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	a, err := s.toSave(words)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	files := []struct {
		name    string
		content any
	}{
		{ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}},
		{ocispec.ImageIndexFile, a.index},
		{dockerManifestFile, a.images},
	}
	for _, f := range files {
		raw, err := json.Marshal(f.content)
		if err != nil {
			return err
		}
		d := ocispec.Descriptor{Size: int64(len(raw)), Digest: digest.FromBytes(raw)}
		if err := writeEntry(t, f.name, d, bytes.NewReader(raw)); err != nil {
			return err
		}
	}
	for _, d := range a.blobs {
		if err := s.saveBlob(ctx, t, d); err != nil {
			return err
		}
	}
	return t.Close()
}

// saved is what goes into an archive.
type saved struct {
	index  ocispec.Index
	images []dockerImage
	blobs  []ocispec.Descriptor // each once, in the order of the images
}

// toSave finds the images and what belongs to them.
func (s *Store) toSave(words []string) (a saved, err error) {
	a.index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	index, err := s.index()
	if err != nil {
		return a, err
	}
	for _, word := range words {
		d, err := s.entry(index, word)
		if err != nil {
			return a, err
		}
		m, err := s.manifest(d)
		if err != nil {
			return a, fmt.Errorf("image %q: %w", word, err)
		}
		a.add(d, m, isNameOf(word, d))
	}
	return a, nil
}

// isNameOf tells whether a word is the name of an entry, and not a digest of it.
func isNameOf(word string, d ocispec.Descriptor) bool {
	full, err := Normalize(word)
	return err == nil && full == d.Annotations[ocispec.AnnotationRefName] && !strings.Contains(full, "@")
}

// add adds one image. Its annotations stay, but for the name.
func (a *saved) add(d ocispec.Descriptor, m *ocispec.Manifest, named bool) {
	inside := dockerImage{Config: inArchive(m.Config)}
	for _, l := range m.Layers {
		inside.Layers = append(inside.Layers, inArchive(l))
	}
	d.Annotations = maps.Clone(d.Annotations)
	if named {
		full := d.Annotations[ocispec.AnnotationRefName]
		d.Annotations[containerdName] = full
		inside.RepoTags = []string{full}
	} else {
		delete(d.Annotations, ocispec.AnnotationRefName)
	}
	a.index.Manifests = append(a.index.Manifests, d)
	a.images = append(a.images, inside)
	for _, b := range slices.Concat([]ocispec.Descriptor{d, m.Config}, m.Layers) {
		if !slices.ContainsFunc(a.blobs, func(have ocispec.Descriptor) bool { return have.Digest == b.Digest }) {
			a.blobs = append(a.blobs, b)
		}
	}
}

// inArchive is the path of a blob in an archive, and in a layout.
func inArchive(d ocispec.Descriptor) string {
	return path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

// saveBlob writes a blob into the archive.
func (s *Store) saveBlob(ctx context.Context, t *tar.Writer, d ocispec.Descriptor) (err error) {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := writeEntry(t, inArchive(d), d, interruptible{ctx, f}); err != nil {
		return fmt.Errorf("blob %s: %w", Short(d.Digest), err)
	}
	return nil
}

// writeEntry writes a file of the archive.
func writeEntry(t *tar.Writer, name string, d ocispec.Descriptor, content io.Reader) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: d.Size, ModTime: time.Unix(0, 0)}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	return copyVerified(t, content, d)
}
