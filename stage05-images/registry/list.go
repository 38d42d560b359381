package registry

// What a registry has: repositories, the tags of one, and what refers to an
// image: signatures, bills of materials (distribution-spec, "Content Discovery").

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tags returns the tags of a repository, sorted as the registry does.
func Tags(ctx context.Context, repository string, o Options) (tags []string, err error) {
	err = at(ctx, repository, o, func(p *place) error {
		tags, err = p.puller.List(ctx, p.repository)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tags of %q: %w", repository, err)
	}
	return tags, nil
}

// Catalog returns the repositories of the registry HOST[:PORT], sorted. Large ones do
// not tell.
func Catalog(ctx context.Context, host string, o Options) (repositories []string, err error) {
	err = catalog(ctx, host, o.withDefaults(), &repositories)
	if err != nil {
		return nil, fmt.Errorf("catalog of %q: %w", host, err)
	}
	return repositories, nil
}

func catalog(ctx context.Context, host string, o Options, repositories *[]string) error {
	registry, err := name.NewRegistry(host, insecure(host, o.PlainHTTP)...)
	if err != nil {
		return err
	}
	checked, idle, err := newTransport(registry, o)
	if err != nil {
		return err
	}
	defer idle.CloseIdleConnections()
	puller, err := remote.NewPuller(remote.WithTransport(checked), remote.WithAuthFromKeychain(o.Keychain), remote.WithRetryBackoff(once))
	if err != nil {
		return err
	}
	*repositories, err = puller.Catalog(ctx, registry)
	slices.Sort(*repositories)
	return explain(err, host, "this registry does not list its repositories")
}

// Referrers returns the descriptors of what refers to an image. Where the
// registry does not know, they are those that the tag sha256-… lists.
func Referrers(ctx context.Context, ref string, o Options) (list []ocispec.Descriptor, err error) {
	err = at(ctx, ref, o, func(p *place) error { return p.referrers(ctx, ref, &list) })
	if err != nil {
		return nil, fmt.Errorf("referrers of %q: %w", ref, err)
	}
	return list, nil
}

func (p *place) referrers(ctx context.Context, ref string, list *[]ocispec.Descriptor) error {
	_, parsed, err := parse(ref, p.options.PlainHTTP)
	if err != nil {
		return err
	}
	head, err := p.puller.Head(ctx, parsed)
	if err != nil {
		return err
	}
	index, err := remote.Referrers(p.repository.Digest(head.Digest.String()), remote.WithContext(ctx), remote.WithTransport(p.client.Transport))
	if err != nil {
		return err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		*list = append(*list, descriptor(d))
	}
	return nil
}

// descriptor is a descriptor in image-spec's own type.
func descriptor(d v1.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size,
		ArtifactType: d.ArtifactType, Annotations: d.Annotations,
	}
}

// at asks the registry of a reference.
func at(ctx context.Context, ref string, o Options, ask func(*place) error) error {
	o = o.withDefaults()
	_, parsed, err := parse(ref, o.PlainHTTP)
	if err != nil {
		return err
	}
	p := &place{repository: parsed.Context(), options: o}
	defer p.close()
	err = p.login(ctx)
	if err == nil {
		err = ask(p)
	}
	return explain(err, parsed.Context().RegistryStr(), noManifest)
}
