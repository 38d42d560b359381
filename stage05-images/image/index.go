package image

// The index: which references the store knows, and the manifest of each. It is
// index.json of image-spec image-layout.md; a reference stands in the
// annotation org.opencontainers.image.ref.name.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/distribution/reference"
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
	Reference string           // in full, see Normalize; of an image without a name ""
	Digest    digest.Digest    // of the manifest
	Platform  ocispec.Platform // as the image's configuration says it
}

// Find returns the image that a word means, see entry. When there is none,
// errors.Is(err, ErrNotFound).
func (s *Store) Find(word string) (*Image, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	d, err := s.entry(index, word)
	if errors.Is(err, ErrNotFound) {
		err = hint.Add(err, "pull it first; where no tag is given, latest is meant")
	}
	if err != nil {
		return nil, err
	}
	img, err := s.load(d.Annotations[ocispec.AnnotationRefName], d)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("image %q: %w", word, err), "the store is damaged; pull the image again")
	}
	return img, nil
}

// entry returns the entry of the index that a word means:
//
//	demo, demo:1           the image of that reference, which need not be in full, or of
//	                       that name, which another tool may have given it in this layout
//	demo@sha256:…          the image of that repository with that digest, pulled by whatever name
//	sha256:0123…, 0123…    the image whose manifest or configuration (docker's
//	                       "image ID") has a digest that begins so
//
// A name comes before a digest: "cafe" is an image of that name if there is one.
func (s *Store) entry(index *ocispec.Index, word string) (ocispec.Descriptor, error) {
	full, err := Normalize(word)
	for _, name := range []string{full, word} {
		if i := find(index, name); name != "" && i >= 0 {
			return index.Manifests[i], nil
		}
	}
	if err == nil {
		for _, d := range index.Manifests {
			if full == atDigest(d.Annotations[ocispec.AnnotationRefName], d.Digest) {
				return d, nil
			}
		}
	}
	found, abbreviated := s.entriesOfID(index, word)
	if different := slices.IndexFunc(found, func(d ocispec.Descriptor) bool { return d.Digest != found[0].Digest }); different > 0 {
		return ocispec.Descriptor{}, hint.Add(fmt.Errorf("image %q: there are several whose digest begins so", word), "write more of it")
	}
	switch {
	case len(found) > 0:
		return found[0], nil
	case err != nil && !abbreviated:
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{}, fmt.Errorf("image %q: %w", word, ErrNotFound)
}

// atDigest is a reference with a digest in place of its tag.
func atDigest(full string, d digest.Digest) string {
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return ""
	}
	return reference.TrimNamed(named).String() + "@" + d.String()
}

// shortestID is how many digits of a digest say which one it is.
const shortestID = 4

// entriesOfID returns the entries of the index whose manifest or configuration
// has a digest that begins with word; abbreviated tells whether it could be one.
func (s *Store) entriesOfID(index *ocispec.Index, word string) (found []ocispec.Descriptor, abbreviated bool) {
	digits := strings.TrimPrefix(word, digest.SHA256.String()+":")
	if len(digits) < shortestID || strings.Trim(digits, "0123456789abcdef") != "" {
		return nil, false
	}
	for _, d := range index.Manifests {
		ids := []digest.Digest{d.Digest}
		// What cannot be read has no ID, and can still be named by its digest.
		if m, err := s.manifest(d); err == nil {
			ids = append(ids, m.Config.Digest)
		}
		if slices.ContainsFunc(ids, func(id digest.Digest) bool { return strings.HasPrefix(id.Encoded(), digits) }) {
			found = append(found, d)
		}
	}
	return found, true
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
		if d.Platform != nil {
			e.Platform = *d.Platform
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Tag gives the image that a word means another name, ref, which is taken from
// the image that has had it. ref is not one with a digest: that names an image
// for good.
func (s *Store) Tag(ctx context.Context, word, ref string) error {
	full, err := Normalize(ref)
	if err != nil {
		return err
	}
	if strings.Contains(full, "@") {
		return hint.Add(fmt.Errorf("tag %q: a name with a digest cannot be given", ref), "leave out the digest: name:tag")
	}
	return s.changeIndex(ctx, func(index *ocispec.Index) error {
		d, err := s.entry(index, word)
		if err != nil {
			return err
		}
		d.Annotations = maps.Clone(d.Annotations)
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[ocispec.AnnotationRefName] = full
		if i := find(index, full); i >= 0 {
			index.Manifests = slices.Delete(index.Manifests, i, i+1)
		}
		index.Manifests = append(index.Manifests, d)
		return nil
	})
}

// Remove takes what a word means out of the index, and returns the entries that
// went; Collect then removes the content that no other entry needs. A name is
// that entry alone, a digest or an ID all entries of the image. unless, if not
// nil, is asked when the last entry of the image would go, and its error keeps
// the image. When there is no such image, errors.Is(err, ErrNotFound).
func (s *Store) Remove(ctx context.Context, word string, unless func(digest.Digest) error) (gone []Entry, err error) {
	err = s.changeIndex(ctx, func(index *ocispec.Index) error {
		d, err := s.entry(index, word)
		if err != nil {
			return fmt.Errorf("remove %w", err)
		}
		name := d.Annotations[ocispec.AnnotationRefName]
		full, err := Normalize(word)
		named := word == name || err == nil && (full == name || full == atDigest(name, d.Digest))
		rest := slices.DeleteFunc(slices.Clone(index.Manifests), func(e ocispec.Descriptor) bool {
			away := e.Digest == d.Digest && (!named || e.Annotations[ocispec.AnnotationRefName] == name)
			if away {
				gone = append(gone, Entry{Reference: e.Annotations[ocispec.AnnotationRefName], Digest: e.Digest})
			}
			return away
		})
		last := !slices.ContainsFunc(rest, func(e ocispec.Descriptor) bool { return e.Digest == d.Digest })
		if last && unless != nil {
			if err := unless(d.Digest); err != nil {
				return fmt.Errorf("remove image %q: %w", word, err)
			}
		}
		index.Manifests = rest
		return nil
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
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

// manifest reads the manifest d.
func (s *Store) manifest(d ocispec.Descriptor) (*ocispec.Manifest, error) {
	raw, err := s.ReadJSON(d)
	if err != nil {
		return nil, err
	}
	return ParseManifest(raw)
}

// config reads the configuration of the image with the manifest d.
func (s *Store) config(d ocispec.Descriptor) (*ocispec.Image, error) {
	manifest, err := s.manifest(d)
	if err != nil {
		return nil, err
	}
	raw, err := s.ReadJSON(manifest.Config)
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
