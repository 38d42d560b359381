package image

// Unpacking: compressed blob → tar stream → folder. The folder is made under
// tmp/ and gets its name, the ChainID, only when the whole stream was read and
// hashes to the DiffID that the configuration announced.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

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
}

// Unpack makes the folder of a layer whose blob is in the store, and returns
// its path. When the folder is there already, or another writer is about to
// make it, nothing is unpacked and fresh is false.
func (in *Ingest) Unpack(ctx context.Context, l Layer) (dir string, fresh bool, err error) {
	dir, err = in.store.addressed("layers", l.ChainID)
	if err != nil {
		return "", false, err
	}
	unlock, err := in.store.lockPiece(ctx, "layer", l.ChainID)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if _, err := os.Lstat(dir); err == nil {
		return dir, false, nil
	}
	temp, err := os.MkdirTemp(in.dir, "layer-")
	if err != nil {
		return "", false, err
	}
	if err := in.unpackInto(ctx, temp, l); err != nil {
		return "", false, roomHint(errors.Join(in.blame(err, l.Blob), os.RemoveAll(temp)))
	}
	in.wrote.Store(true)
	return dir, true, rename(temp, dir)
}

// unpackInto fills the folder dir.
func (in *Ingest) unpackInto(ctx context.Context, dir string, l Layer) error {
	path, err := in.store.addressed("blobs", l.Blob.Digest)
	if err != nil {
		return err
	}
	blob, err := os.Open(path)
	if err != nil {
		return err
	}
	defer blob.Close()
	return untar(ctx, blob, l, func(tar io.Reader) error {
		_, err := layer.Apply(dir, tar, layer.Options{Lower: l.Lower})
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
	digester := l.DiffID.Algorithm().Digester()
	ahead := readAhead(ctx, io.TeeReader(tar, digester.Hash()))
	defer ahead.Close() // runs before tar.Close: nothing reads tar any more
	if err := apply(ahead); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = hint.Add(err, "unpacking sets owners and makes devices; run it as root")
		}
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

// blame finds out why a layer did not unpack. A blob was verified when it came,
// but a disk may rot: then the image is innocent, and the blob is removed so
// that the next pull fetches it again.
func (in *Ingest) blame(cause error, d ocispec.Descriptor) error {
	path, err := in.store.addressed("blobs", d.Digest)
	if err != nil {
		return cause
	}
	blob, err := os.Open(path)
	if err != nil {
		return cause
	}
	defer blob.Close()
	if err := copyVerified(io.Discard, blob, d); !errors.Is(err, ErrDigest) && !errors.Is(err, ErrSize) {
		return cause
	}
	return hint.Add(errors.Join(fmt.Errorf("blob %q is damaged: %w", path, cause), os.Remove(path)),
		"it has been removed; pull the image again")
}
