package image

// Manifests, indexes and configurations: JSON from a registry, not to be
// trusted before it was looked at. image-spec manifest.md, image-index.md,
// config.md.

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
)

// The media types of docker's registry API that mean the same as OCI's.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
)

// maxLayers is how many lower layers overlayfs stacks (OVL_MAX_STACK in
// fs/overlayfs/params.h).
const maxLayers = 500

// document has the fields by which an index and a manifest are told apart.
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Config        json.RawMessage `json:"config"`
	Layers        json.RawMessage `json:"layers"`
}

// Kind tells what raw is, which a registry served as the given media type (""
// when that is not known): an index or, if not, a manifest.
//
// Neither and both are errors: what one tool takes for a harmless manifest
// another takes for an index with something else in it, under one digest
// (CVE-2021-41190). For the same reason the media types inside and outside must
// not contradict what it is.
func Kind(raw []byte, served string) (mediaType string, isIndex bool, err error) {
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return "", false, fmt.Errorf("parse manifest: %w", err)
	}
	if doc.SchemaVersion != 2 {
		return "", false, hint.Add(fmt.Errorf("manifest has schema version %d, want 2", doc.SchemaVersion),
			"it was made by docker before version 1.10; push the image again")
	}
	isIndex = doc.Manifests != nil
	switch hasImage := doc.Layers != nil || doc.Config != nil; {
	case isIndex && hasImage:
		return "", false, errors.New(`ambiguous manifest: it has both "manifests" and "layers"`)
	case !isIndex && !hasImage:
		return "", false, errors.New(`not a manifest: it has neither "manifests" nor "layers"`)
	}
	mediaType = ocispec.MediaTypeImageManifest
	if isIndex {
		mediaType = ocispec.MediaTypeImageIndex
	}
	for _, said := range []string{served, doc.MediaType} {
		switch saysIndex, known := isIndexType(said); {
		case known && saysIndex != isIndex:
			return "", false, fmt.Errorf("ambiguous manifest: its content is not of its media type %q", said)
		case known:
			mediaType = said
		}
	}
	return mediaType, isIndex, nil
}

// isIndexType tells what a media type says. Registries that serve static files
// send types like text/plain, which say nothing.
func isIndexType(mediaType string) (isIndex, known bool) {
	switch mediaType {
	case ocispec.MediaTypeImageIndex, dockerIndex:
		return true, true
	case ocispec.MediaTypeImageManifest, dockerManifest:
		return false, true
	}
	return false, false
}

// ParseIndex parses what Kind found to be an index.
func ParseIndex(raw []byte) (*ocispec.Index, error) {
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("parse index: %w", err)
	}
	for _, d := range index.Manifests {
		if err := checkDescriptor(d, MaxJSON); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	}
	return &index, nil
}

// ParseManifest parses the manifest of a container image and checks each
// descriptor in it, so that what uses them need not.
func ParseManifest(raw []byte) (*ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("parse manifest: %w", err)
	}
	if t := m.Config.MediaType; t != ocispec.MediaTypeImageConfig && t != dockerConfig {
		return nil, hint.Add(fmt.Errorf("no container image: its configuration is of type %q", t),
			"this reference names something else, like a chart or a signature")
	}
	if err := checkDescriptor(m.Config, MaxJSON); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if n := len(m.Layers); n == 0 || n > maxLayers {
		return nil, fmt.Errorf("image has %d layers; overlayfs stacks 1 to %d", n, maxLayers)
	}
	for i, d := range m.Layers {
		if err := checkDescriptor(d, 0); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if _, ok := compressions[d.MediaType]; !ok {
			return nil, fmt.Errorf("layer %d: media type %q is not supported", i+1, d.MediaType)
		}
	}
	return &m, nil
}

// ParseConfig parses the configuration of an image with the given manifest.
func ParseConfig(raw []byte, m *ocispec.Manifest) (*ocispec.Image, error) {
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("parse configuration: %w", err)
	}
	if ids, layers := len(config.RootFS.DiffIDs), len(m.Layers); ids != layers {
		return nil, fmt.Errorf("configuration has %d diff_ids for %d layers", ids, layers)
	}
	for i, id := range config.RootFS.DiffIDs {
		if err := id.Validate(); err != nil {
			return nil, fmt.Errorf("configuration: diff_id %d: %q: %w", i+1, id, err)
		}
	}
	return &config, nil
}

// checkDescriptor checks the digest, and the size against a bound, if any.
func checkDescriptor(d ocispec.Descriptor, limit int64) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Size < 0 || limit > 0 && d.Size > limit {
		return fmt.Errorf("%s: size %d is out of range", Short(d.Digest), d.Size)
	}
	return nil
}

// Short returns the first twelve digits of a valid digest, enough to tell a few
// apart: sha256:0123456789ab.
func Short(d digest.Digest) string {
	return d.Algorithm().String() + ":" + d.Encoded()[:12]
}
