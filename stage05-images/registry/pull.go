// Package registry moves images between registries and an image store.
//
// A registry is a web server with three kinds of addresses
// (distribution-spec): /v2/ says whether one has to log in,
// /v2/NAME/manifests/TAG-OR-DIGEST gives a manifest or an index, and
// /v2/NAME/blobs/DIGEST gives everything else. Logging in, tokens, retries and
// redirects are go-containerregistry's work. This package decides what to ask
// for, in which order, and what to believe of the answer: nothing that does not
// hash to the digest that asked for it.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/image"
)

// defaultParallel is how many blobs are fetched at once, as docker does it.
const defaultParallel = 3

// Options say how to pull. The zero value is fine.
type Options struct {
	// Progress is told what happens: a bar if it is a terminal, otherwise a
	// line for each layer. nil: nothing.
	Progress io.Writer

	// Platform is what to take from an image for several platforms. Empty: the
	// host's.
	Platform ocispec.Platform

	// Keychain knows user names and passwords. nil: authn.DefaultKeychain,
	// which reads the files of docker login and podman login.
	Keychain authn.Keychain

	// Parallel is the number of blobs that are fetched at once. 0: 3.
	Parallel int
}

// withDefaults fills in what is not said.
func (o Options) withDefaults() Options {
	if o.Platform.OS == "" {
		o.Platform = image.HostPlatform()
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	return o
}

// Pull brings the image ref into the store, unpacked, and returns it. What the
// store has already is not fetched again; a reference with a digest that the
// store has needs no registry at all.
//
// It returns soon after the end of ctx. After an error the store has no
// unfinished file; whole blobs and layers stay for the next attempt, until
// Collect. An error is one line that names the reference and, where it is
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
	full, parsed, err := parse(ref)
	if err != nil {
		return nil, err
	}
	if img := pinned(s, full, o.Platform); img != nil {
		return img, nil
	}
	ingest, err := s.Ingest(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ingest.Close()) }()

	transport := newTransport()
	defer transport.CloseIdleConnections()
	puller, err := remote.NewPuller(
		remote.WithTransport(limited{transport}),
		remote.WithAuthFromKeychain(o.Keychain),
		remote.WithJobs(o.Parallel),
		remote.WithRetryBackoff(backoff),
	)
	if err != nil {
		return nil, err
	}
	p := &pulling{store: s, ingest: ingest, puller: puller, repository: parsed.Context(), options: o}
	return p.image(ctx, full, parsed)
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
	store      *image.Store
	ingest     *image.Ingest
	puller     *remote.Puller
	repository name.Repository
	options    Options
}

// image pulls the image that ref names in the registry.
func (p *pulling) image(ctx context.Context, full string, ref name.Reference) (*image.Image, error) {
	d, raw, err := p.manifest(ctx, ref)
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
	if err := p.layers(ctx, d, manifest, config); err != nil {
		return nil, err
	}
	return p.ingest.Commit(ctx, full, d)
}

// manifest gets the manifest that ref means on the wanted platform.
func (p *pulling) manifest(ctx context.Context, ref name.Reference) (ocispec.Descriptor, []byte, error) {
	d, raw, isIndex, err := p.get(ctx, ref)
	if err != nil || !isIndex {
		return d, raw, err
	}
	index, err := image.ParseIndex(raw)
	if err != nil {
		return d, nil, err
	}
	d, err = image.Choose(index, p.options.Platform)
	if err != nil {
		return d, nil, err
	}
	if raw, err := p.store.ReadJSON(d); err == nil {
		return d, raw, nil
	}
	got, raw, isIndex, err := p.get(ctx, p.repository.Digest(d.Digest.String()))
	switch {
	case err != nil:
		return d, nil, fmt.Errorf("manifest %s: %w", image.Short(d.Digest), err)
	case isIndex:
		return d, nil, fmt.Errorf("manifest %s: it is an index inside an index", image.Short(d.Digest))
	}
	return got, raw, nil
}

// get gets a manifest or an index. go-containerregistry has verified it if the
// reference has a digest; a tag means whatever the registry says.
func (p *pulling) get(ctx context.Context, ref name.Reference) (d ocispec.Descriptor, raw []byte, isIndex bool, err error) {
	got, err := p.puller.Get(ctx, ref)
	if err != nil {
		return d, nil, false, explain(err, ref.Context().RegistryStr(), noManifest)
	}
	mediaType, isIndex, err := image.Kind(got.Manifest, string(got.MediaType))
	d = ocispec.Descriptor{
		MediaType: mediaType,
		Digest:    digest.Digest(got.Digest.String()),
		Size:      got.Size,
	}
	return d, got.Manifest, isIndex, err
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
		return p.blob(ctx, m.Config)
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

// blob opens a blob in the registry.
func (p *pulling) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	l, err := p.puller.Layer(exactly(ctx, d.Size), p.repository.Digest(d.Digest.String()))
	if err != nil {
		return nil, explain(err, p.repository.RegistryStr(), noBlob)
	}
	r, err := l.Compressed()
	return r, explain(err, p.repository.RegistryStr(), noBlob)
}

// foreign opens a layer that may not be redistributed, so that registries do
// not have it and its descriptor says where it is (image-spec descriptor.md,
// urls). go-containerregistry tries the registry first and then those
// addresses; it refuses addresses within private networks and sends no password
// to them (CVE-2020-15157).
func (p *pulling) foreign(ctx context.Context, manifest, d ocispec.Descriptor) (io.ReadCloser, error) {
	got, err := p.puller.Get(ctx, p.repository.Digest(manifest.Digest.String()))
	if err != nil {
		return nil, explain(err, p.repository.RegistryStr(), noBlob)
	}
	img, err := got.Image()
	if err != nil {
		return nil, err
	}
	l, err := img.LayerByDigest(v1.Hash{Algorithm: d.Digest.Algorithm().String(), Hex: d.Digest.Encoded()})
	if err != nil {
		return nil, err
	}
	r, err := l.Compressed()
	return r, explain(err, "the address in the manifest", noBlob)
}
