package registry

// The other direction: an image of the store, or of another registry, goes to a
// registry. First what it needs, blobs and the manifests of an index, then its
// manifest: a registry refuses what refers to something that it does not have.
// What is there already is not sent again; what another repository of the same
// registry has is mounted (distribution-spec, "Mounting a blob from another
// repository").

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"skiff.example/stage05-images/image"
)

// Push sends an image or an index to the registry that ref names.
func Push(ctx context.Context, img remote.Taggable, ref string) error {
	o := Options{}.withDefaults()
	_, parsed, err := parse(ref, o.PlainHTTP)
	if err != nil {
		return fmt.Errorf("push %q: %w", ref, err)
	}
	p, err := newPushing(parsed.Context(), o)
	if err != nil {
		return fmt.Errorf("push %q: %w", ref, err)
	}
	defer p.close()
	if err := p.pusher.Push(ctx, parsed, img); err != nil {
		return fmt.Errorf("push %q: %w", ref, explain(err, parsed.Context().RegistryStr(), noManifest))
	}
	return nil
}

// PushFrom sends the image ref of the store to the registry that to names; "" is
// ref itself. It returns the digest of the image's manifest.
func PushFrom(ctx context.Context, s *image.Store, ref, to string, o Options) (digest.Digest, error) {
	if to == "" {
		to = ref
	}
	d, err := pushFrom(ctx, s, ref, to, o.withDefaults())
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("push %q: %w", to, err)
	}
	return d, nil
}

func pushFrom(ctx context.Context, s *image.Store, ref, to string, o Options) (digest.Digest, error) {
	img, err := s.Find(ref)
	if err != nil {
		return "", err
	}
	_, parsed, err := parse(to, o.PlainHTTP)
	if err != nil {
		return "", err
	}
	p, err := newPushing(parsed.Context(), o)
	if err != nil {
		return "", err
	}
	defer p.close()
	p.verb, p.from = pushed, stored{s}
	if p.mounts, err = mounts(s, parsed.Context()); err != nil {
		return "", err
	}
	raw, err := s.ReadJSON(ocispec.Descriptor{Digest: img.Digest})
	if err != nil {
		return "", err
	}
	mediaType, _, err := image.Kind(raw, "")
	if err != nil {
		return "", err
	}
	return img.Digest, p.manifest(ctx, parsed, raw, mediaType)
}

// Copy sends the image from of a registry to the registry that to names: for all
// platforms that it has, if o.Platform is empty. Nothing comes into a store. It
// returns the digest of what to means now.
func Copy(ctx context.Context, from, to string, o Options) (digest.Digest, error) {
	all := o.Platform.OS == ""
	d, err := copyImage(ctx, from, to, o.withDefaults(), all)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("copy %q to %q: %w", from, to, err)
	}
	return d, nil
}

func copyImage(ctx context.Context, from, to string, o Options, all bool) (digest.Digest, error) {
	_, source, err := parse(from, o.PlainHTTP)
	if err != nil {
		return "", err
	}
	_, parsed, err := parse(to, o.PlainHTTP)
	if err != nil {
		return "", err
	}
	places, err := newPlaces(source.Context(), o)
	if err != nil {
		return "", err
	}
	defer places.close()
	p, err := newPushing(parsed.Context(), o)
	if err != nil {
		return "", err
	}
	defer p.close()
	p.verb, p.from = copied, remoteImage{places}
	if source.Context().Registry == parsed.Context().Registry {
		p.mounts = func(digest.Digest) (name.Repository, bool) { return source.Context(), true }
	}
	d, raw, isIndex, err := places.manifest(ctx, source.Identifier())
	if err == nil && isIndex && !all {
		d, raw, err = places.choose(ctx, raw, o.Platform)
	}
	if err != nil {
		return "", err
	}
	return d.Digest, p.manifest(ctx, parsed, raw, d.MediaType)
}

// supply is where an image comes from.
type supply interface {
	manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error)
	blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// stored is the store.
type stored struct{ *image.Store }

func (s stored) manifest(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
	return s.ReadJSON(d)
}

func (s stored) blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return s.OpenBlob(d)
}

// remoteImage is a registry.
type remoteImage struct{ places places }

func (r remoteImage) manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, error) {
	_, raw, _, err := r.places.manifest(ctx, d.Digest.String())
	return raw, err
}

func (r remoteImage) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	return r.places.blob(ctx, d, 0)
}

// pushing is one push under way.
type pushing struct {
	to      name.Repository
	pusher  *remote.Pusher
	close   func()
	options Options

	verb   verb
	from   supply
	mounts func(digest.Digest) (name.Repository, bool) // which repository of this registry has a blob; may be nil
}

// newPushing logs in when something is sent.
func newPushing(to name.Repository, o Options) (*pushing, error) {
	checked, idle, err := newTransport(to.Registry, o)
	if err != nil {
		return nil, err
	}
	pusher, err := remote.NewPusher(remote.WithTransport(checked), remote.WithAuthFromKeychain(o.Keychain),
		remote.WithJobs(o.Parallel), remote.WithRetryBackoff(once))
	return &pushing{to: to, pusher: pusher, close: idle.CloseIdleConnections, options: o}, err
}

// manifest sends what a manifest or an index needs, and then itself as ref.
func (p *pushing) manifest(ctx context.Context, ref name.Reference, raw []byte, mediaType string) error {
	var doc struct {
		Manifests, Layers []ocispec.Descriptor
		Config            *ocispec.Descriptor
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("parse manifest: %w", err)
	}
	for _, child := range doc.Manifests {
		raw, err := p.from.manifest(ctx, child)
		if err == nil {
			err = p.manifest(ctx, p.to.Digest(child.Digest.String()), raw, child.MediaType)
		}
		if err != nil {
			return fmt.Errorf("manifest %s: %w", image.Short(child.Digest), err)
		}
	}
	if err := p.blobs(ctx, doc.Layers, doc.Config); err != nil {
		return err
	}
	return p.patiently(ctx, func() error { return p.pusher.Put(ctx, ref, document{raw, types.MediaType(mediaType)}) })
}

// document is a manifest as go-containerregistry sends it.
type document struct {
	raw       []byte
	mediaType types.MediaType
}

func (d document) RawManifest() ([]byte, error)        { return d.raw, nil }
func (d document) MediaType() (types.MediaType, error) { return d.mediaType, nil }

// blobs sends the layers and the configuration of an image, a few at a time.
func (p *pushing) blobs(ctx context.Context, layers []ocispec.Descriptor, config *ocispec.Descriptor) error {
	progress := newProgress(p.options, p.verb, layers)
	defer progress.close()
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(p.options.Parallel)
	for i, d := range layers {
		workers.Go(func() error {
			isNew, err := p.blob(ctx, d, func(at int64) { progress.at(i, at) })
			if err != nil {
				return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(layers), image.Short(d.Digest), err)
			}
			progress.at(i, d.Size)
			progress.done(i, isNew)
			return nil
		})
	}
	if config != nil {
		workers.Go(func() error {
			_, err := p.blob(ctx, *config, func(int64) {})
			return err
		})
	}
	return workers.Wait()
}

// blob sends one blob, unless it is there or may not be redistributed: such
// layers stay where their descriptors say (image-spec layer.md).
func (p *pushing) blob(ctx context.Context, d ocispec.Descriptor, tell func(int64)) (isNew bool, err error) {
	if strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.") {
		return false, nil
	}
	if err := d.Digest.Validate(); err != nil {
		return false, fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	o := &outgoing{Descriptor: d, open: func() (io.ReadCloser, error) {
		r, err := p.from.blob(ctx, d)
		return counted(r, tell), err
	}}
	var l v1.Layer = o
	if p.mounts != nil {
		if repository, ok := p.mounts(d.Digest); ok {
			l = &remote.MountableLayer{Layer: l, Reference: repository.Digest(d.Digest.String())}
		}
	}
	err = p.patiently(ctx, func() error { return p.pusher.Upload(ctx, p.to, l) })
	return o.sent.Load(), err
}

// patiently does it again when it failed for a reason that passes. A registry
// forgets an upload that broke off; go-containerregistry cannot continue one.
func (p *pushing) patiently(ctx context.Context, do func() error) error {
	for failed := 1; ; failed++ {
		err := do()
		if err == nil || !passes(err) || !p.options.Retry.wait(ctx, failed) {
			return explain(err, p.to.RegistryStr(), noRepository)
		}
	}
}

// outgoing is a blob as go-containerregistry sends it.
type outgoing struct {
	ocispec.Descriptor
	open func() (io.ReadCloser, error)
	sent atomic.Bool
}

// errCompressed says that nobody needs a blob unpacked in order to send it.
var errCompressed = errors.New("a blob is sent as it is")

func (o *outgoing) Digest() (v1.Hash, error)             { return v1.NewHash(o.Descriptor.Digest.String()) }
func (o *outgoing) DiffID() (v1.Hash, error)             { return v1.Hash{}, errCompressed }
func (o *outgoing) Uncompressed() (io.ReadCloser, error) { return nil, errCompressed }
func (o *outgoing) Size() (int64, error)                 { return o.Descriptor.Size, nil }
func (o *outgoing) MediaType() (types.MediaType, error) {
	return types.MediaType(o.Descriptor.MediaType), nil
}

func (o *outgoing) Compressed() (io.ReadCloser, error) {
	o.sent.Store(true)
	if o.Descriptor.Size == 0 { // else net/http takes it for a body of unknown length
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return o.open()
}

// mounts tells of each blob of the store which repository of the same registry
// has it: that of an image which came from there or went there.
func mounts(s *image.Store, to name.Repository) (func(digest.Digest) (name.Repository, bool), error) {
	entries, err := s.List()
	if err != nil {
		return nil, err
	}
	has := map[digest.Digest]name.Repository{}
	for _, e := range entries {
		ref, err := name.ParseReference(e.Reference, name.Insecure)
		if err != nil || ref.Context().RegistryStr() != to.RegistryStr() || ref.Context().RepositoryStr() == to.RepositoryStr() {
			continue // a name that is no registry's is no source
		}
		raw, err := s.ReadJSON(ocispec.Descriptor{Digest: e.Digest})
		if err != nil {
			return nil, err
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("parse manifest: %w", err)
		}
		for _, d := range m.Layers {
			has[d.Digest] = ref.Context()
		}
	}
	return func(d digest.Digest) (name.Repository, bool) {
		r, ok := has[d]
		return r, ok
	}, nil
}
