package registry

// The layers of an image: several are fetched at once, each of which is verified
// and unpacked while it comes. What depends on the layers below is settled from
// the bottom up: what a whiteout hides lies there.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// stack is the layers of one image, lowest first.
type stack struct {
	*pulling
	layers   []image.Layer
	pieces   []chan *image.Piece // each gets one, when it is fetched
	progress progress
}

// layers fetches and unpacks the layers that the store does not have.
func (p *pulling) layers(ctx context.Context, m *ocispec.Manifest, config *ocispec.Image) (err error) {
	s := &stack{pulling: p, progress: newProgress(p.options, pulled, m.Layers)}
	for i, chain := range image.ChainIDs(config) {
		s.layers = append(s.layers, image.Layer{Blob: m.Layers[i], DiffID: config.RootFS.DiffIDs[i], ChainID: chain})
		s.pieces = append(s.pieces, make(chan *image.Piece, 1))
	}
	defer func() { err = errors.Join(err, s.close()) }()

	// The first error ends the context of all the others.
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return s.fetchAll(ctx) })
	both.Go(func() error { return s.settleAll(ctx) })
	return both.Wait()
}

// close gives up what was fetched and not settled.
func (s *stack) close() (err error) {
	s.progress.close()
	for _, piece := range s.pieces {
		select {
		case p := <-piece:
			err = errors.Join(err, p.Close())
		default:
		}
	}
	return err
}

// fetchAll fetches the layers, a few at a time and the lowest first: a pull that
// waits for another one's layer never has what the other one waits for.
func (s *stack) fetchAll(ctx context.Context) error {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(s.options.Parallel)
	for i := range s.layers {
		workers.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return s.named(i, s.fetch(ctx, i))
		})
	}
	return workers.Wait()
}

// fetch brings one layer into the store.
func (s *stack) fetch(ctx context.Context, i int) error {
	d := s.layers[i].Blob
	piece, err := s.ingest.Fetch(ctx, s.layers[i], func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		s.progress.at(i, offset)
		r, err := s.places.blob(ctx, d, offset)
		return counted(r, func(at int64) { s.progress.at(i, offset+at) }), err
	})
	switch {
	case errors.Is(err, image.ErrDigest), errors.Is(err, image.ErrSize):
		return hint.Add(err, "it is damaged in the registry or was changed on the way; push the image again")
	case err != nil && passes(err):
		return hint.Add(err, "pull again; what has come already is kept")
	case err != nil:
		return err
	}
	s.progress.at(i, d.Size)
	s.pieces[i] <- piece
	return nil
}

// settleAll settles each layer as soon as it is there and the one below is done.
func (s *stack) settleAll(ctx context.Context) error {
	var lower []string // topmost first
	for i := range s.layers {
		select {
		case piece := <-s.pieces[i]:
			dir, fresh, err := piece.Settle(ctx, lower)
			if err != nil {
				return s.named(i, err)
			}
			s.progress.done(i, piece.Fetched || fresh)
			lower = slices.Insert(lower, 0, dir)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// named says which layer an error is about.
func (s *stack) named(i int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(s.layers), image.Short(s.layers[i].Blob.Digest), err)
}

// counted calls tell with the number of bytes that were read of r so far.
func counted(r io.ReadCloser, tell func(int64)) io.ReadCloser { return &counter{r, tell, 0} }

type counter struct {
	io.ReadCloser
	tell func(int64)
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	c.tell(c.n)
	return n, err
}
