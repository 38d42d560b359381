package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage05-images/image"
)

// Layers and images: what a step has made comes into the store, and is found there
// by the next build. A step that has made a layer is an image under a name of its
// own, so that collecting garbage and checking the store need to know nothing of
// builds; and one can run it, to see why the next step fails.

// cacheRepository is where the images of single steps have their names: the tag is
// the key of the step.
const cacheRepository = "skiff.example/build-cache"

// IsStep tells whether a reference is that of a step.
func IsStep(reference string) bool { return strings.HasPrefix(reference, cacheRepository+":") }

// Forget takes the names of all steps away; collecting garbage then removes what no
// other image needs.
func Forget(ctx context.Context, store *image.Store) error {
	entries, err := store.List()
	for _, e := range entries {
		if IsStep(e.Reference) {
			_, failed := store.Remove(ctx, e.Reference, nil)
			err = errors.Join(err, failed)
		}
	}
	return err
}

// comment is in the history of an image, beside each step that was done here.
const comment = "skiff build"

// cacheName is the name of the image that a step has made.
func cacheName(key string) string { return cacheRepository + ":" + key }

// key is the name of a step: a hash of the step before and of all that decides what
// this one makes.
func (b *builder) key(before string, parts ...string) string {
	h := sha256.New()
	epoch := ""
	if b.Epoch != nil {
		epoch = b.Epoch.UTC().String()
	}
	fmt.Fprintf(h, "%q %q %q", before, epoch, parts)
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

// cached looks for a step that was done before; then s is what it had made.
func (b *builder) cached(s *stage, key string) bool {
	if b.NoCache {
		return false
	}
	img, err := b.store.Find(cacheName(key))
	if err != nil {
		return false // not there, or damaged: it is made again
	}
	details, err := b.store.Inspect(img.Digest.String())
	n := len(s.blobs)
	if err != nil || len(details.Manifest.Layers) != n+1 || len(img.Config.History) == 0 {
		return false
	}
	s.key = key
	s.blobs = append(s.blobs, details.Manifest.Layers[n])
	s.config.RootFS.DiffIDs = append(s.config.RootFS.DiffIDs, img.Config.RootFS.DiffIDs[n])
	s.dirs = slices.Insert(s.dirs, 0, img.Layers[0])
	s.config.Created = img.Config.Created
	s.config.History = append(s.config.History, img.Config.History[len(img.Config.History)-1])
	return true
}

// layer makes a layer of the tar file that write writes, puts it on the stage, and
// keeps the step.
func (b *builder) layer(ctx context.Context, s *stage, key, text string, write func(io.Writer) error) (err error) {
	// O_TMPFILE: a file without a name, of which nothing is left whoever is killed.
	fd, err := unix.Open(b.engine.Root, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make temporary file in %q: %w", b.engine.Root, err)
	}
	f := os.NewFile(uintptr(fd), "layer")
	defer func() { err = errors.Join(err, f.Close()) }()
	packed, unpacked := digest.SHA256.Digester(), digest.SHA256.Digester()
	out := gzip.NewWriter(io.MultiWriter(f, packed.Hash()))
	if err := write(io.MultiWriter(out, unpacked.Hash())); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	blob := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: packed.Digest(), Size: size}
	content := func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, size)), nil }
	if _, err := b.in.Blob(ctx, blob, content); err != nil {
		return err
	}
	s.config.RootFS.DiffIDs = append(s.config.RootFS.DiffIDs, unpacked.Digest())
	chains := image.ChainIDs(&ocispec.Image{RootFS: s.config.RootFS})
	dir, _, err := b.in.Unpack(ctx, image.Layer{Blob: blob, DiffID: unpacked.Digest(), ChainID: chains[len(chains)-1], Lower: s.dirs})
	if err != nil {
		return fmt.Errorf("unpack the new layer: %w", err)
	}
	s.key, s.blobs, s.dirs = key, append(s.blobs, blob), slices.Insert(slices.Clone(s.dirs), 0, dir)
	s.config.Created = b.now()
	s.config.History = append(s.config.History, ocispec.History{Created: s.config.Created, CreatedBy: text, Comment: comment})
	_, err = b.save(ctx, s, cacheName(key))
	return err
}

// now is the time of what is made.
func (b *builder) now() *time.Time {
	if b.Epoch != nil {
		return b.Epoch
	}
	t := time.Now().UTC()
	return &t
}

// save gives what a stage has come to a name.
func (b *builder) save(ctx context.Context, s *stage, name string) (*image.Image, error) {
	config, err := b.json(ctx, ocispec.MediaTypeImageConfig, s.config)
	if err != nil {
		return nil, err
	}
	manifest, err := b.json(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: slices.Concat([]ocispec.Descriptor{}, s.blobs),
	})
	if err != nil {
		return nil, err
	}
	return b.in.Commit(ctx, name, manifest)
}

// json puts a document into the store.
func (b *builder) json(ctx context.Context, mediaType string, document any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, err = b.in.Blob(ctx, d, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
	return d, err
}

// ociLayer is the media type of a layer in OCI's words: the bytes are the same, and
// a manifest speaks one language.
func ociLayer(mediaType string) string {
	switch mediaType {
	case "application/vnd.docker.image.rootfs.diff.tar":
		return ocispec.MediaTypeImageLayer
	case "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return ocispec.MediaTypeImageLayerGzip
	case "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return ocispec.MediaTypeImageLayerZstd
	}
	return mediaType
}
