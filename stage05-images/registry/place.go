package registry

// Where images are: repositories of registries, and mirrors, which have the same
// under another name. Each place is logged in to once, when it is first needed.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// place is a repository of a registry.
type place struct {
	repository name.Repository
	options    Options
	givenUp    atomic.Bool // it is a mirror, and did not have something

	mutex  sync.Mutex
	client *http.Client   // for blobs; nil: nobody has logged in yet
	puller *remote.Puller // for everything else, with the same token
	idle   *http.Transport
}

// login sees what the registry wants to know of us, and gets a token if it is
// the kind that gives tokens (distribution's token authentication).
func (p *place) login(ctx context.Context) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.client != nil {
		return nil
	}
	auth, err := authn.Resolve(ctx, p.options.Keychain, p.repository)
	if err != nil {
		return hint.Add(fmt.Errorf("look up the account for %s: %w", p.repository.RegistryStr(), err), "see ~/.docker/config.json")
	}
	checked, idle, err := newTransport(p.repository.Registry, p.options)
	if err != nil {
		return err
	}
	p.idle = idle
	scopes := []string{p.repository.Scope(transport.PullScope)}
	wrapped, err := transport.NewWithContext(ctx, p.repository.Registry, auth, checked, scopes)
	if err != nil {
		return err
	}
	p.puller, err = remote.NewPuller(remote.WithTransport(wrapped), remote.WithAuth(auth), remote.WithJobs(p.options.Parallel))
	if err == nil {
		p.client = &http.Client{Transport: wrapped, CheckRedirect: checkRedirect}
	}
	return err
}

// close lets go of the connections.
func (p *place) close() {
	if p.idle != nil {
		p.idle.CloseIdleConnections()
	}
}

// manifest gets what a tag or a digest names.
func (p *place) manifest(ctx context.Context, identifier string) (*remote.Descriptor, error) {
	if err := p.login(ctx); err != nil {
		return nil, err
	}
	if strings.Contains(identifier, ":") {
		return p.puller.Get(ctx, p.repository.Digest(identifier))
	}
	return p.puller.Get(ctx, p.repository.Tag(identifier))
}

// blob opens a blob from an offset on.
func (p *place) blob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := p.login(ctx); err != nil {
		return nil, err
	}
	address := url.URL{
		Scheme: p.repository.Scheme(), Host: p.repository.RegistryStr(),
		Path: fmt.Sprintf("/v2/%s/blobs/%s", p.repository.RepositoryStr(), d.Digest),
	}
	return fetchFrom(ctx, p.client, address.String(), d, offset)
}

// places are those that have the same: mirrors, and last the registry itself.
type places []*place

// newPlaces returns where a repository can be had.
func newPlaces(repository name.Repository, o Options) (places, error) {
	var all places
	for _, mirror := range o.Mirrors {
		from, to, both := strings.Cut(mirror, "=")
		if !both {
			from, to = name.DefaultRegistry, mirror // as dockerd's registry-mirrors
		}
		registry, err := name.NewRegistry(from)
		if err != nil {
			return nil, fmt.Errorf("mirror %q: %w", mirror, err)
		}
		if registry.Name() != repository.Registry.Name() {
			continue
		}
		host, _, _ := strings.Cut(to, "/")
		other, err := name.NewRepository(to+"/"+repository.RepositoryStr(), insecure(host, o.PlainHTTP)...)
		if err != nil {
			return nil, hint.Add(fmt.Errorf("mirror %q: %w", mirror, err), "write HOST[:PORT][/PATH], for docker.io, or REGISTRY=HOST[:PORT][/PATH]")
		}
		all = append(all, &place{repository: other, options: o})
	}
	return append(all, &place{repository: repository, options: o}), nil
}

// origin is the registry itself.
func (all places) origin() *place { return all[len(all)-1] }

func (all places) close() {
	for _, p := range all {
		p.close()
	}
}

// try asks one place after another until one has it. The error is what the
// registry itself says; missing is the advice when it did not have it.
func (all places) try(missing string, ask func(*place) error) error {
	var mirrors []string
	for _, p := range all {
		if p.givenUp.Load() {
			continue
		}
		host := p.repository.RegistryStr()
		err := explain(ask(p), host, missing)
		switch {
		case err == nil:
			return nil
		case p != all.origin():
			p.givenUp.Store(true)
			mirrors = append(mirrors, fmt.Sprintf("mirror %s: %v", host, err))
		case len(mirrors) > 0:
			return hint.Add(fmt.Errorf("%w (%s)", err, strings.Join(mirrors, "; ")), hint.Of(err))
		default:
			return err
		}
	}
	return nil
}

// manifest gets a manifest or an index. go-containerregistry has verified it if
// a digest names it; a tag means whatever the registry says.
func (all places) manifest(ctx context.Context, identifier string) (d ocispec.Descriptor, raw []byte, isIndex bool, err error) {
	var got *remote.Descriptor
	err = all.try(noManifest, func(p *place) error {
		got, err = p.manifest(ctx, identifier)
		return err
	})
	if err != nil {
		return d, nil, false, err
	}
	mediaType, isIndex, err := image.Kind(got.Manifest, string(got.MediaType))
	return ocispec.Descriptor{
		MediaType: mediaType, Digest: digest.Digest(got.Digest.String()), Size: got.Size,
	}, got.Manifest, isIndex, err
}

// choose gets the manifest for a platform out of an index, and asks those first
// who may have it already.
func (all places) choose(
	ctx context.Context, index []byte, want ocispec.Platform, have ...func(ocispec.Descriptor) ([]byte, error),
) (ocispec.Descriptor, []byte, error) {
	parsed, err := image.ParseIndex(index)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	d, err := image.Choose(parsed, want)
	if err != nil {
		return d, nil, err
	}
	for _, read := range have {
		if raw, err := read(d); err == nil {
			return d, raw, nil
		}
	}
	got, raw, isIndex, err := all.manifest(ctx, d.Digest.String())
	switch {
	case err != nil:
		return d, nil, fmt.Errorf("manifest %s: %w", image.Short(d.Digest), err)
	case isIndex:
		return d, nil, fmt.Errorf("manifest %s: it is an index inside an index", image.Short(d.Digest))
	}
	return got, raw, nil
}

// blob opens a blob from an offset on, and keeps it open when connections break.
func (all places) blob(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	return newSteady(ctx, d.Size, offset, all.origin().options.Retry,
		func(ctx context.Context, offset int64) (body io.ReadCloser, err error) {
			err = all.try(noBlob, func(p *place) error {
				body, err = p.blob(ctx, d, offset)
				return err
			})
			if err != nil && len(d.URLs) > 0 {
				return all.foreign(ctx, d, offset)
			}
			return body, err
		})
}

// foreign opens a layer that may not be redistributed, so that registries need
// not have it and its descriptor says where it is (image-spec descriptor.md,
// urls). Nobody logs in there: the image's author wrote those addresses.
func (all places) foreign(ctx context.Context, d ocispec.Descriptor, offset int64) (body io.ReadCloser, err error) {
	checked, idle, err := newTransport(all.origin().repository.Registry, all.origin().options)
	if err != nil {
		return nil, err
	}
	defer idle.CloseIdleConnections()
	client := &http.Client{Transport: checked, CheckRedirect: checkRedirect}
	err = errors.New("it has no address")
	for _, address := range d.URLs {
		u, parseErr := url.Parse(address)
		switch {
		case parseErr != nil:
			err = parseErr
			continue
		case isInside(u.Hostname()) && !isInside(hostname(all.origin().repository.RegistryStr())):
			err = errInside
			continue
		}
		if body, err = fetchFrom(ctx, client, address, d, offset); err == nil {
			return body, nil
		}
	}
	return nil, explain(err, "the address in the manifest", noBlob)
}
