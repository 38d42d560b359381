// Package assemble builds images from tar streams, for demos and tests: what a
// build tool does at the end, when it knows what is in each layer.
//
// An image is three kinds of blobs, each named by its hash: the layers, a
// configuration that names the layers unpacked (diff_ids), and a manifest that
// names the configuration and the layers as they travel (image-spec
// manifest.md). The same input gives the same bytes, and so the same digests.
package assemble

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer writes a layer, an uncompressed tar file, to w. What is deleted from
// the layers below is a whiteout (image-spec layer.md).
type Layer func(w io.Writer) error

// Compression is how layers travel.
type Compression int

const (
	Gzip Compression = iota // what every tool understands
	Zstd                    // smaller and several times faster to unpack
	None
)

// Options say what an image is beside its layers. The zero value is an image
// for this host, of gzip layers, with no command.
type Options struct {
	Config      ocispec.ImageConfig // command, environment, working directory …
	Platform    ocispec.Platform    // empty: the host's
	Compression Compression
	Created     time.Time // zero: 1970, so that the image can be made again, bit by bit
}

// Image builds an image of layers, the lowest first. Compressed layers are kept
// in memory.
func Image(layers []Layer, o Options) (v1.Image, error) {
	var added []mutate.Addendum
	for i, write := range layers {
		l, err := newLayer(write, o.Compression)
		if err != nil {
			return nil, fmt.Errorf("assemble layer %d: %w", i+1, err)
		}
		added = append(added, mutate.Addendum{Layer: l, MediaType: l.mediaType})
	}
	// ConfigFile comes first: Append then adds the layers' diff_ids to it.
	base, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(
		empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), configFile(o))
	if err != nil {
		return nil, fmt.Errorf("assemble configuration: %w", err)
	}
	img, err := mutate.Append(base, added...)
	if err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	return img, nil
}

// configFile says in go-containerregistry's words what the options say.
func configFile(o Options) *v1.ConfigFile {
	if o.Platform.OS == "" {
		o.Platform = ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
	}
	if o.Created.IsZero() {
		o.Created = time.Unix(0, 0)
	}
	return &v1.ConfigFile{
		OS:           o.Platform.OS,
		Architecture: o.Platform.Architecture,
		Variant:      o.Platform.Variant,
		Created:      v1.Time{Time: o.Created.UTC()},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:         o.Config.User,
			ExposedPorts: o.Config.ExposedPorts,
			Env:          o.Config.Env,
			Entrypoint:   o.Config.Entrypoint,
			Cmd:          o.Config.Cmd,
			Volumes:      o.Config.Volumes,
			WorkingDir:   o.Config.WorkingDir,
			Labels:       o.Config.Labels,
			StopSignal:   o.Config.StopSignal,
		},
	}
}

// blob is a layer in memory; it implements v1.Layer.
type blob struct {
	content        []byte // as it travels
	digest, diffID v1.Hash
	mediaType      types.MediaType
	compression    Compression
}

// newLayer writes the tar stream through the compressor, and hashes it before
// and after.
func newLayer(write Layer, c Compression) (*blob, error) {
	l := &blob{compression: c}
	var content bytes.Buffer
	compressor, mediaType, err := compress(&content, c)
	if err != nil {
		return nil, err
	}
	l.mediaType = mediaType
	unpacked, err := v1.Hasher("sha256")
	if err != nil {
		return nil, err
	}
	if err := write(io.MultiWriter(compressor, unpacked)); err != nil {
		return nil, err
	}
	if err := compressor.Close(); err != nil {
		return nil, err
	}
	l.content = content.Bytes()
	l.diffID = v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", unpacked.Sum(nil))}
	l.digest, _, err = v1.SHA256(bytes.NewReader(l.content))
	return l, err
}

// compress returns a compressor that writes to w. The compressors write no
// time and no name, and do all the work in one goroutine: the output depends on
// the input alone.
func compress(w io.Writer, c Compression) (io.WriteCloser, types.MediaType, error) {
	switch c {
	case Gzip:
		return gzip.NewWriter(w), types.OCILayer, nil
	case Zstd:
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z, types.OCILayerZStd, err
	case None:
		return plain{w}, types.OCIUncompressedLayer, nil
	}
	return nil, "", fmt.Errorf("unknown compression %d", c)
}

// plain is no compressor.
type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// Digest implements v1.Layer.
func (l *blob) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements v1.Layer.
func (l *blob) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size implements v1.Layer.
func (l *blob) Size() (int64, error) { return int64(len(l.content)), nil }

// MediaType implements v1.Layer.
func (l *blob) MediaType() (types.MediaType, error) { return l.mediaType, nil }

// Compressed implements v1.Layer.
func (l *blob) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.content)), nil
}

// Uncompressed implements v1.Layer.
func (l *blob) Uncompressed() (io.ReadCloser, error) {
	r := bytes.NewReader(l.content)
	switch l.compression {
	case Gzip:
		return gzip.NewReader(r)
	case Zstd:
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}
