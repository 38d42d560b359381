// Package registry moves images between registries and an image store.
//
// A registry is a web server with three kinds of addresses
// (distribution-spec): /v2/ says whether one has to log in,
// /v2/NAME/manifests/TAG-OR-DIGEST gives a manifest or an index, and
// /v2/NAME/blobs/DIGEST gives everything else. Logging in and tokens are
// go-containerregistry's work, and so is what is sent in a push. This package
// decides what to ask for, where, in which order, when to ask again, and what to
// believe of the answer: nothing that does not hash to the digest that asked for
// it.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// defaultParallel is how many layers are on their way at once.
const defaultParallel = 4

// Options say how to reach registries, what to take and what to tell meanwhile.
// The zero value is fine.
type Options struct {
	// Progress is told what happens: bars if it is a terminal, otherwise a
	// line for each layer or, with JSON, an object a line. nil: nothing.
	Progress io.Writer
	JSON     bool

	// Platform is what to take from an image for several platforms. Empty: the
	// host's.
	Platform ocispec.Platform

	// Keychain knows user names and passwords. nil: authn.DefaultKeychain,
	// which reads the files of docker login and podman login, and asks the
	// credential helpers that these name.
	Keychain authn.Keychain

	// Parallel is the number of layers that are fetched at once. 0: 4.
	Parallel int

	// PlainHTTP allows to speak to the registry without TLS, wherever it is. To
	// this host it is always allowed.
	PlainHTTP bool

	// CA is a file with the certificates, in PEM format, of authorities to
	// believe beside the system's and those in certificateFolders.
	CA string

	// Mirrors are asked before the registry: REGISTRY=HOST[:PORT][/PATH], or
	// without REGISTRY= for docker.io.
	Mirrors []string

	// Retry says what to do when a connection breaks or a registry is busy.
	Retry Retry
}

// withDefaults fills in what is not said.
func (o Options) withDefaults() Options {
	if o.Platform.OS == "" && o.Platform.Architecture == "" {
		o.Platform = image.HostPlatform()
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	o.Retry = o.Retry.withDefaults()
	return o
}

// Pull brings the image ref into the store, unpacked, and returns it. What the
// store has already is not fetched again; a reference with a digest that the
// store has needs no registry at all.
//
// It returns soon after the end of ctx. After an error nothing unfinished is in
// place; blobs, layers, and what has come of blobs stay for the next attempt,
// until Collect. An error is one line that names the reference and, where it is
// about one, the layer.
func Pull(ctx context.Context, s *image.Store, ref string, o Options) (*image.Image, error) {
	img, err := pull(ctx, s, ref, o.withDefaults())
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // what else went wrong is a consequence
	}
	if err != nil {
		return nil, fmt.Errorf("pull %q: %w", ref, err)
	}
	return img, nil
}

// pull does the work of Pull; its errors do not name the reference.
func pull(ctx context.Context, s *image.Store, ref string, o Options) (img *image.Image, err error) {
	full, parsed, err := parse(ref, o.PlainHTTP)
	if err != nil {
		return nil, err
	}
	if img := pinned(s, full, o.Platform); img != nil {
		return img, nil
	}
	places, err := newPlaces(parsed.Context(), o)
	if err != nil {
		return nil, err
	}
	defer places.close()
	ingest, err := s.Ingest(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ingest.Close()) }()
	p := &pulling{store: s, ingest: ingest, places: places, options: o}
	return p.image(ctx, full, parsed.Identifier())
}

// pinned returns the image of a reference with a digest if the store has it:
// what has a digest cannot have changed since.
func pinned(s *image.Store, full string, want ocispec.Platform) *image.Image {
	named, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return nil
	}
	if _, ok := named.(reference.Canonical); !ok {
		return nil
	}
	// An error is no obstacle: pulling then finds it again, or mends it.
	img, err := s.Find(full)
	if err != nil || !image.Matches(img.Config.Platform, want) {
		return nil
	}
	return img
}

// pulling is one pull under way.
type pulling struct {
	store   *image.Store
	ingest  *image.Ingest
	places  places
	options Options
}

// image pulls the image that a tag or a digest names in the registry.
func (p *pulling) image(ctx context.Context, full, identifier string) (*image.Image, error) {
	d, raw, err := p.manifest(ctx, identifier)
	if err != nil {
		return nil, err
	}
	manifest, err := image.ParseManifest(raw)
	if err != nil {
		return nil, err
	}
	if err := p.storeJSON(ctx, d, raw); err != nil {
		return nil, err
	}
	config, err := p.config(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if !image.Matches(config.Platform, p.options.Platform) {
		return nil, image.WrongPlatform(p.options.Platform, []ocispec.Platform{config.Platform})
	}
	if err := p.layers(ctx, manifest, config); err != nil {
		return nil, err
	}
	return p.ingest.Commit(ctx, full, d)
}

// manifest gets the manifest that is meant on the wanted platform.
func (p *pulling) manifest(ctx context.Context, identifier string) (ocispec.Descriptor, []byte, error) {
	d, raw, isIndex, err := p.places.manifest(ctx, identifier)
	if err != nil || !isIndex {
		return d, raw, err
	}
	return p.places.choose(ctx, raw, p.options.Platform, p.store.ReadJSON)
}

// storeJSON stores a manifest that was fetched already.
func (p *pulling) storeJSON(ctx context.Context, d ocispec.Descriptor, raw []byte) error {
	_, err := p.ingest.Blob(ctx, d, func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw)), nil
	})
	return err
}

// config gets the configuration of the image.
func (p *pulling) config(ctx context.Context, m *ocispec.Manifest) (*ocispec.Image, error) {
	_, err := p.ingest.Blob(ctx, m.Config, func() (io.ReadCloser, error) {
		return p.places.blob(ctx, m.Config, 0)
	})
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", image.Short(m.Config.Digest), err)
	}
	raw, err := p.store.ReadJSON(m.Config)
	if err != nil {
		return nil, err
	}
	return image.ParseConfig(raw, m)
}
