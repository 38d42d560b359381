package image

// Unpacking: compressed blob → tar stream → folder. The folder is made under
// tmp/ and gets its name, the ChainID, only when the whole stream was read and
// hashes to the DiffID that the configuration announced.

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage04-overlay/layer"
)

// compression of a layer's blob.
type compression int

const (
	uncompressed compression = iota
	gzipped
	zstandard
)

// compressions are the media types of layers that can be unpacked: image-spec
// media-types.md and docker's of the same meaning. Layers that may not be
// redistributed ("foreign") unpack as any other does.
var compressions = map[string]compression{
	"application/vnd.oci.image.layer.v1.tar":                       uncompressed,
	"application/vnd.oci.image.layer.v1.tar+gzip":                  gzipped,
	"application/vnd.oci.image.layer.v1.tar+zstd":                  zstandard,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      uncompressed,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": gzipped,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": zstandard,
	"application/vnd.docker.image.rootfs.diff.tar":                 uncompressed,
	"application/vnd.docker.image.rootfs.diff.tar.gzip":            gzipped,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    gzipped,
	"application/vnd.docker.image.rootfs.diff.tar.zstd":            zstandard,
}

// Layer says what to unpack.
type Layer struct {
	Blob    ocispec.Descriptor
	DiffID  digest.Digest // of the tar stream
	ChainID digest.Digest // the layer's name, see ChainIDs
	Lower   []string      // folders of the layers below, topmost first

	// MaxBytes is how long the tar stream may be. 0: layer.DefaultMaxBytes.
	MaxBytes int64
}

// max is MaxBytes or the default.
func (l Layer) max() int64 { return cmp.Or(l.MaxBytes, layer.DefaultMaxBytes) }

// Unpack makes the folder of a layer whose blob is in the store, and returns
// its path. When the folder is there already, or another writer is about to
// make it, nothing is unpacked and fresh is false.
func (in *Ingest) Unpack(ctx context.Context, l Layer) (dir string, fresh bool, err error) {
	p, err := in.Fetch(ctx, l, func(context.Context, int64) (io.ReadCloser, error) {
		// A blob was verified when it came, but a disk may rot. Fetch has removed
		// it, so that the next pull mends it.
		return nil, hint.Add(fmt.Errorf("blob %s is not there, or was damaged", Short(l.Blob.Digest)), "pull the image again")
	})
	if err != nil {
		return "", false, err
	}
	return p.Settle(ctx, l.Lower)
}

// unpackInto fills the folder dir.
func (in *Ingest) unpackInto(ctx context.Context, dir string, l Layer) error {
	blob, err := in.store.OpenBlob(l.Blob)
	if err != nil {
		return err
	}
	defer blob.Close()
	return untar(ctx, blob, l, func(tar io.Reader) error {
		_, err := layer.Apply(dir, tar, layer.Options{Lower: l.Lower, MaxBytes: l.max()})
		return err
	})
}

// untar lets apply read the tar stream that a layer's blob holds, to its end,
// and verifies the DiffID.
func untar(ctx context.Context, blob io.Reader, l Layer, apply func(tar io.Reader) error) error {
	tar, err := decompress(blob, l.Blob.MediaType)
	if err != nil {
		return err
	}
	defer tar.Close()
	// Package layer counts what is in the files. What lies between or behind
	// them counts here: zeros compress a thousand times (CVE-2025-58183).
	digester, bounded := l.DiffID.Algorithm().Digester(), &io.LimitedReader{R: tar, N: l.max() + 1}
	ahead := readAhead(ctx, io.TeeReader(bounded, digester.Hash()))
	err = apply(ahead)
	ahead.Close() // now nothing reads tar any more
	switch {
	case bounded.N == 0:
		return fmt.Errorf("unpacked it is longer than %d bytes: %w", l.max(), unix.EFBIG)
	case errors.Is(err, fs.ErrPermission):
		return hint.Add(err, "unpacking sets owners and makes devices; run it as root")
	case err != nil:
		return err
	}
	if got := digester.Digest(); got != l.DiffID {
		return fmt.Errorf("%w: unpacked it is %s, and the configuration says %s", ErrDigest, Short(got), Short(l.DiffID))
	}
	return nil
}

// decompress returns the tar stream of a layer's blob.
func decompress(blob io.Reader, mediaType string) (io.ReadCloser, error) {
	kind, ok := compressions[mediaType]
	if !ok {
		return nil, fmt.Errorf("media type %q is not supported", mediaType)
	}
	blob = bufio.NewReaderSize(blob, 1<<18)
	switch kind {
	case gzipped:
		return gzip.NewReader(blob)
	case zstandard:
		// The memory is what the stream asks for: up to as much as zstd itself
		// grants unasked (man 1 zstd, --memory). A decoder of its own goroutine
		// would read ahead; ours does that, see readAhead.
		z, err := zstd.NewReader(blob, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(blob), nil
}
