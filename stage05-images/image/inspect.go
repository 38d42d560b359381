package image

// What the store knows of its images: what each is made of, how it came about,
// how large it is, and how much of it other images have as well.

import (
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Details is an image with all that belongs to it.
type Details struct {
	ID          digest.Digest // of the configuration: docker's "image ID"
	Digest      digest.Digest // of the manifest
	References  []string      // all names of it, in full
	Manifest    ocispec.Manifest
	Config      ocispec.Image
	Healthcheck *Healthcheck // nil: none
	History     []Step       // the newest last

	Size   int64 // bytes of its blobs: as it travels, compressed, each counted once
	Shared int64 // of these, what other images of the store have as well
}

// Step is a step of an image's history: what was done, and which layer came of
// it, if any.
type Step struct {
	Created   *time.Time // nil: unknown
	CreatedBy string
	Comment   string
	Layer     digest.Digest // of the blob; "" when only the configuration was changed
	Size      int64         // bytes of that blob
}

// Inspect returns the details of the image that a word means, see Find.
func (s *Store) Inspect(word string) (*Details, error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	entry, err := s.entry(index, word)
	if err != nil {
		return nil, err
	}
	all, _ := s.Images() // what is wrong with others is not asked here
	for _, d := range all {
		if d.Digest == entry.Digest {
			return d, nil
		}
	}
	_, err = s.details(entry) // or else it would be among all
	return nil, fmt.Errorf("image %q: %w", word, err)
}

// Images returns the details of all images, each once however many names it has,
// in the order in which they came. An image that cannot be read is left out, and
// an error beside the rest.
func (s *Store) Images() (all []*Details, err error) {
	index, err := s.index()
	if err != nil {
		return nil, err
	}
	users := map[digest.Digest]int{} // how many images have a blob
	for _, entry := range index.Manifests {
		name := entry.Annotations[ocispec.AnnotationRefName]
		i := slices.IndexFunc(all, func(d *Details) bool { return d.Digest == entry.Digest })
		if i < 0 {
			d, failed := s.details(entry)
			if failed != nil {
				err = fmt.Errorf("image %q: %w", name, failed)
				continue
			}
			for blob := range d.blobs() {
				users[blob]++
			}
			i, all = len(all), append(all, d)
		}
		if name != "" {
			all[i].References = append(all[i].References, name)
		}
	}
	for _, d := range all {
		for blob, size := range d.blobs() {
			d.Size += size
			if users[blob] > 1 {
				d.Shared += size
			}
		}
	}
	return all, err
}

// details reads the image with this manifest.
func (s *Store) details(entry ocispec.Descriptor) (*Details, error) {
	m, err := s.manifest(entry)
	if err != nil {
		return nil, err
	}
	raw, err := s.ReadJSON(m.Config)
	if err != nil {
		return nil, err
	}
	config, err := ParseConfig(raw, m)
	if err != nil {
		return nil, err
	}
	d := &Details{ID: m.Config.Digest, Digest: entry.Digest, Manifest: *m, Config: *config, History: history(m, config)}
	d.Healthcheck, err = ParseHealthcheck(raw)
	return d, err
}

// blobs are the sizes of an image's blobs but for the manifest, which no other
// image has.
func (d *Details) blobs() map[digest.Digest]int64 {
	sizes := map[digest.Digest]int64{d.ID: d.Manifest.Config.Size}
	for _, l := range d.Manifest.Layers {
		sizes[l.Digest] = l.Size
	}
	return sizes
}

// history joins the configuration's history with the layers: each step that is
// not an empty_layer made the next one (image-spec config.md). Tools leave
// history out, or layers out of it; the layers without a step come last.
func history(m *ocispec.Manifest, config *ocispec.Image) (steps []Step) {
	layers := m.Layers
	add := func(s Step, empty bool) {
		if !empty && len(layers) > 0 {
			s.Layer, s.Size, layers = layers[0].Digest, layers[0].Size, layers[1:]
		}
		steps = append(steps, s)
	}
	for _, h := range config.History {
		add(Step{Created: h.Created, CreatedBy: h.CreatedBy, Comment: h.Comment}, h.EmptyLayer)
	}
	for len(layers) > 0 {
		add(Step{}, false)
	}
	return steps
}
