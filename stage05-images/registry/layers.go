package registry

// The layers of an image: several are fetched at once, and unpacked one after
// another from the bottom up, since what a whiteout hides lies in the layers
// below. While one is unpacked the next ones come.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// stack is the layers of one image, lowest first.
type stack struct {
	*pulling
	manifest ocispec.Descriptor
	blobs    []ocispec.Descriptor
	diffIDs  []digest.Digest
	chainIDs []digest.Digest
	ready    []chan bool // ready[i] gets one value when blob i is in the store: was it fetched?
	progress progress
}

// layers fetches and unpacks the layers that the store does not have.
func (p *pulling) layers(ctx context.Context, d ocispec.Descriptor, m *ocispec.Manifest, config *ocispec.Image) error {
	s := &stack{
		pulling:  p,
		manifest: d,
		blobs:    m.Layers,
		diffIDs:  config.RootFS.DiffIDs,
		chainIDs: image.ChainIDs(config),
		ready:    make([]chan bool, len(m.Layers)),
		progress: newProgress(p.options.Progress, m.Layers),
	}
	for i := range s.ready {
		s.ready[i] = make(chan bool, 1)
	}
	defer s.progress.close()

	// The first error ends the context of all the others.
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return s.fetchAll(ctx) })
	both.Go(func() error { return s.unpackAll(ctx) })
	return both.Wait()
}

// fetchAll fetches the blobs, the lowest first, a few at a time.
func (s *stack) fetchAll(ctx context.Context) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(s.options.Parallel)
	for i := range s.blobs {
		workers.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			fetched, err := s.fetch(ctx, s.blobs[i])
			if err != nil {
				return s.named(i, err)
			}
			s.ready[i] <- fetched
			return nil
		})
	}
	return workers.Wait()
}

// fetch brings one blob into the store.
func (s *stack) fetch(ctx context.Context, d ocispec.Descriptor) (fetched bool, err error) {
	fetched, err = s.ingest.Blob(ctx, d, func() (io.ReadCloser, error) {
		r, err := s.open(ctx, d)
		if err != nil {
			return nil, err
		}
		return counted{r, s.progress}, nil
	})
	switch {
	case errors.Is(err, image.ErrDigest), errors.Is(err, image.ErrSize):
		err = hint.Add(err, "it is damaged in the registry or was changed on the way; push the image again")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET):
		err = hint.Add(err, "pull again; what has come already is kept")
	case err == nil && !fetched:
		s.progress.add(d.Size)
	}
	return fetched, err
}

// open opens one blob, wherever it is.
func (s *stack) open(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if len(d.URLs) > 0 {
		return s.foreign(ctx, s.manifest, d)
	}
	return s.blob(ctx, d)
}

// unpackAll unpacks each layer as soon as it is there and the one below is done.
func (s *stack) unpackAll(ctx context.Context) error {
	var lower []string // topmost first
	for i, blob := range s.blobs {
		var fetched bool
		select {
		case fetched = <-s.ready[i]:
		case <-ctx.Done():
			return ctx.Err()
		}
		dir, fresh, err := s.ingest.Unpack(ctx, image.Layer{
			Blob:    blob,
			DiffID:  s.diffIDs[i],
			ChainID: s.chainIDs[i],
			Lower:   lower,
		})
		if err != nil {
			return s.named(i, err)
		}
		s.progress.layer(i, fetched || fresh)
		lower = slices.Insert(lower, 0, dir)
	}
	return nil
}

// named says which layer an error is about.
func (s *stack) named(i int, err error) error {
	return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(s.blobs), image.Short(s.blobs[i].Digest), err)
}

// counted tells the progress how much is read.
type counted struct {
	io.ReadCloser
	progress progress
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.progress.add(int64(n))
	return n, err
}
