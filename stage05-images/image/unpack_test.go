package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// packed is content through a compressor.
func packed(t *testing.T, content []byte, compressor func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := compressor(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }

func zstandard(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w)
	if err != nil {
		panic(err) // only options can be wrong
	}
	return z
}

// layer describes a single layer that is stored as blob and unpacks to tar.
func layer(blob ocispec.Descriptor, tar []byte) image.Layer {
	return image.Layer{Blob: blob, DiffID: digest.FromBytes(tar), ChainID: digest.FromBytes(tar)}
}

func TestALayerUnpacksFromAnyMediaType(t *testing.T) {
	testkit.HostUnchanged(t)
	tar := tarOf(t, assemble.Regular("file", "hello\n", 0o4755))
	for mediaType, blob := range map[string][]byte{
		"application/vnd.oci.image.layer.v1.tar":                       tar,
		"application/vnd.oci.image.layer.v1.tar+gzip":                  packed(t, tar, gzipped),
		"application/vnd.oci.image.layer.v1.tar+zstd":                  packed(t, tar, zstandard),
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": packed(t, tar, gzipped),
		"application/vnd.docker.image.rootfs.diff.tar.gzip":            packed(t, tar, gzipped),
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    packed(t, tar, gzipped),
	} {
		t.Run(strings.ReplaceAll(mediaType, "/", " "), func(t *testing.T) {
			_, in, _ := open(t)
			dir, fresh, err := in.Unpack(t.Context(), layer(put(t, in, mediaType, blob), tar))
			if err != nil || !fresh {
				t.Fatal(fresh, err)
			}
			info, err := os.Stat(filepath.Join(dir, "file"))
			if err != nil || info.Mode() != 0o755|os.ModeSetuid {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func TestALayerThatHashesToSomethingElseIsNotKept(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	tar := tarOf(t, assemble.Regular("file", "hello\n", 0o644))
	l := layer(put(t, in, ocispec.MediaTypeImageLayer, tar), tar)
	l.DiffID = digest.FromString("something else")
	if _, _, err := in.Unpack(t.Context(), l); !errors.Is(err, image.ErrDigest) {
		t.Error(err)
	}
	// What follows the archive's end mark counts as well.
	l = layer(put(t, in, ocispec.MediaTypeImageLayer, append(tar, "more"...)), tar)
	if _, _, err := in.Unpack(t.Context(), l); !errors.Is(err, image.ErrDigest) {
		t.Error(err)
	}
	if left := append(files(t, dir, "layers/*/*"), files(t, dir, "tmp/*/*")...); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestATruncatedArchiveIsAnError(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, _ := open(t)
	tar := tarOf(t, assemble.Regular("file", strings.Repeat("hello\n", 1000), 0o644))
	whole := packed(t, tar, gzipped)
	cut := put(t, in, ocispec.MediaTypeImageLayerGzip, whole[:len(whole)/2]) // as it was pushed
	if _, _, err := in.Unpack(t.Context(), layer(cut, tar)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A disk may rot. The blob is removed, so that the next pull mends it.
func TestADamagedBlobIsBlamedAndRemoved(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	tar := tarOf(t, assemble.Regular("file", "hello\n", 0o644))
	l := layer(put(t, in, ocispec.MediaTypeImageLayer, tar), tar)
	path := files(t, dir, "blobs/sha256/*")[0]
	rotten := bytes.Clone(tar)
	rotten[600] ^= 1
	if err := os.WriteFile(path, rotten, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := in.Unpack(t.Context(), l)
	if want := fmt.Sprintf("blob %s is not there, or was damaged", image.Short(l.Blob.Digest)); err == nil || err.Error() != want || hint.Of(err) != "pull the image again" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if left := files(t, dir, "blobs/sha256/*"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestUnpackingEndsWithTheContext(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, _ := open(t) // which wants nothing unfinished at the end
	tar := tarOf(t, assemble.Regular("file", strings.Repeat("x", 8<<20), 0o644))
	l := layer(put(t, in, ocispec.MediaTypeImageLayer, tar), tar)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := in.Unpack(ctx, l); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTwoWritersUnpackALayerOnce(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	var many []assemble.File
	for i := range 200 {
		many = append(many, assemble.Regular(fmt.Sprint(i), "hello\n", 0o644))
	}
	tar := tarOf(t, many...)
	l := layer(put(t, in, ocispec.MediaTypeImageLayer, tar), tar)
	var unpacked atomic.Int32
	atOnce(t, dir, func(in *image.Ingest) error {
		_, fresh, err := in.Unpack(t.Context(), l)
		if fresh {
			unpacked.Add(1)
		}
		return err
	})
	if unpacked.Load() != 1 {
		t.Errorf("unpacked %d times", unpacked.Load())
	}
}
