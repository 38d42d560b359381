package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// from is a source of content that counts what it is asked for.
func from(content []byte, offsets *[]int64) image.Source {
	return func(_ context.Context, offset int64) (io.ReadCloser, error) {
		*offsets = append(*offsets, offset)
		return io.NopCloser(bytes.NewReader(content[offset:])), nil
	}
}

// Layers come in any order, each without those below it; settled from below they
// are what they are when unpacked one above the other.
func TestLayersAreFetchedInAnyOrder(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, _ := open(t)
	tars := [][]byte{
		tarOf(t, assemble.Directory("usr"), assemble.Symlink("lib", "usr"), assemble.Regular("etc/old", "1", 0o644), assemble.Regular("etc/kept", "1", 0o644)),
		tarOf(t, assemble.Regular("lib/tool", "2", 0o755), assemble.Whiteout("etc/old")), // only in order is it known where lib leads
		tarOf(t, assemble.Hardlink("link", "etc/kept"), assemble.Whiteout("etc/none")),
	}
	var asked []int64
	pieces := make([]*image.Piece, len(tars))
	for _, i := range []int{2, 0, 1} {
		l := layer(descriptor(ocispec.MediaTypeImageLayer, tars[i]), tars[i])
		p, err := in.Fetch(t.Context(), l, from(tars[i], &asked))
		if err != nil || !p.Fetched {
			t.Fatalf("layer %d: %+v, %v", i, p, err)
		}
		pieces[i] = p
	}
	var lower []string
	for i, p := range pieces {
		dir, fresh, err := p.Settle(t.Context(), lower)
		if err != nil || !fresh {
			t.Fatalf("layer %d: fresh %v, %v", i, fresh, err)
		}
		lower = append([]string{dir}, lower...)
	}
	if len(asked) != 3 {
		t.Errorf("asked %v", asked)
	}
	for path, want := range map[string]string{"1/usr/tool": "2", "0/link": "1", "2/etc/old": "1"} {
		if got, err := os.ReadFile(filepath.Join(lower[path[0]-'0'], path[2:])); string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"0/etc/none", "1/lib"} {
		if _, err := os.Lstat(filepath.Join(lower[path[0]-'0'], path[2:])); err == nil {
			t.Errorf("%s is there", path)
		}
	}
}

func TestAPieceThatIsGivenUpLeavesItsBlob(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	content := tarOf(t, assemble.Regular("file", "hello\n", 0o644))
	l := layer(descriptor(ocispec.MediaTypeImageLayer, content), content)
	var asked []int64
	for range 2 {
		p, err := in.Fetch(t.Context(), l, from(content, &asked))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if layers, blobs := files(t, dir, "layers/*/*"), files(t, dir, "blobs/*/*"); len(asked) != 1 || len(layers) > 0 || len(blobs) != 1 {
		t.Errorf("asked %v; layers %q, blobs %q", asked, layers, blobs)
	}
}

// Bombs: a few bytes that unpack to more than a disk or a memory holds.
func TestABombDoesNotGoOff(t *testing.T) {
	var huge bytes.Buffer
	if err := tar.NewWriter(&huge).WriteHeader(&tar.Header{Name: "zeros", Size: 1 << 40, Format: tar.FormatPAX}); err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 20
	zeros := make([]byte, 2*limit)
	behind := append(tarOf(t, assemble.Regular("file", "hello\n", 0o644)), zeros...)
	// RFC 8878 section 3.1.1: magic, a descriptor that announces a window, the
	// window of 2^(10+20) bytes, and a last block without content.
	window := binary.LittleEndian.AppendUint32(nil, 0xFD2FB528)
	window = append(window, 0x00, 20<<3, 0x01, 0x00, 0x00)
	for name, c := range map[string]struct {
		mediaType string
		blob      []byte
		want      error
		text      string
	}{
		"a file, gzip":             {ocispec.MediaTypeImageLayerGzip, packed(t, append(huge.Bytes(), zeros...), gzipped), unix.EFBIG, "more bytes make the layer larger than"},
		"a file, zstd":             {ocispec.MediaTypeImageLayerZstd, packed(t, append(huge.Bytes(), zeros...), zstandard), unix.EFBIG, "more bytes make the layer larger than"},
		"behind the archive, gzip": {ocispec.MediaTypeImageLayerGzip, packed(t, behind, gzipped), unix.EFBIG, "unpacked it is longer than 4194304 bytes"},
		"behind the archive, zstd": {ocispec.MediaTypeImageLayerZstd, packed(t, behind, zstandard), unix.EFBIG, "unpacked it is longer than 4194304 bytes"},
		"a window of 1 GiB":        {ocispec.MediaTypeImageLayerZstd, window, nil, "window size exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			_, in, dir := open(t)
			l := layer(descriptor(c.mediaType, c.blob), nil)
			l.MaxBytes = limit
			_, err := in.Fetch(t.Context(), l, from(c.blob, new([]int64)))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %s", err, c.text)
			}
			if left := append(files(t, dir, "layers/*/*"), files(t, dir, "tmp/*/*")...); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}
