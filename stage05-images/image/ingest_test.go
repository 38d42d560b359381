package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// open opens a new store and a writer. In the end nothing unfinished may be
// left.
func open(t *testing.T) (s *image.Store, in *image.Ingest, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	in, err = s.Ingest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if left := files(t, dir, "tmp/*"); len(left) > 0 {
			t.Errorf("unfinished: %q", left)
		}
	})
	return s, in, dir
}

// files lists what matches a pattern in the store.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// descriptor describes content.
func descriptor(mediaType string, content []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// reader opens content.
func reader(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

// put stores content.
func put(t *testing.T, in *image.Ingest, mediaType string, content []byte) ocispec.Descriptor {
	t.Helper()
	d := descriptor(mediaType, content)
	if _, err := in.Blob(t.Context(), d, reader(content)); err != nil {
		t.Fatal(err)
	}
	return d
}

// tarOf is the tar file of these entries.
func tarOf(t testing.TB, entries ...assemble.File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := assemble.Files(entries...)(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// store puts an image of uncompressed layers into the store.
func store(t *testing.T, in *image.Ingest, ref string, layers ...[]byte) *image.Image {
	t.Helper()
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, put(t, in, ocispec.MediaTypeImageLayer, l))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(l))
	}
	var lower []string
	for i, chain := range image.ChainIDs(&config) {
		dir, _, err := in.Unpack(t.Context(), image.Layer{Blob: manifest.Layers[i], DiffID: config.RootFS.DiffIDs[i], ChainID: chain, Lower: lower})
		if err != nil {
			t.Fatal(err)
		}
		lower = append([]string{dir}, lower...)
	}
	manifest.Config = put(t, in, ocispec.MediaTypeImageConfig, marshal(t, config))
	img, err := in.Commit(t.Context(), ref, put(t, in, ocispec.MediaTypeImageManifest, marshal(t, manifest)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestABlobIsWhatItsDescriptorSays(t *testing.T) {
	_, in, dir := open(t)
	content := []byte(strings.Repeat("content", 1000))
	d := descriptor("", content)
	flipped := bytes.Clone(content)
	flipped[17] ^= 1
	broken := io.MultiReader(bytes.NewReader(content[:100]), iotest.ErrReader(io.ErrUnexpectedEOF))
	for name, test := range map[string]struct {
		r    io.Reader
		want error
		text string
	}{
		"other":   {bytes.NewReader(flipped), image.ErrDigest, "digest mismatch: content is sha256:"},
		"shorter": {bytes.NewReader(content[:100]), image.ErrSize, "size mismatch: 100 bytes, and the manifest says 7000"},
		"longer":  {bytes.NewReader(append(content, 0)), image.ErrSize, "size mismatch: more than the 7000 bytes that the manifest says"},
		"endless": {endless{}, image.ErrSize, "size mismatch: more than"},
		"broken":  {broken, io.ErrUnexpectedEOF, "broke off after 100 of 7000 bytes: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := in.Blob(t.Context(), d, func() (io.ReadCloser, error) { return io.NopCloser(test.r), nil })
			if !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), test.text) {
				t.Errorf("got %v, want %s", err, test.text)
			}
			if left := append(files(t, dir, "blobs/*/*"), files(t, dir, "tmp/*/*")...); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestTwoWritersFetchABlobOnce(t *testing.T) {
	_, _, dir := open(t)
	content := []byte("content")
	var opened, fetched atomic.Int32
	atOnce(t, dir, func(in *image.Ingest) error {
		mine, err := in.Blob(t.Context(), descriptor("", content), func() (io.ReadCloser, error) {
			opened.Add(1)
			time.Sleep(50 * time.Millisecond) // time for the others to come here as well
			return reader(content)()
		})
		if mine {
			fetched.Add(1)
		}
		return err
	})
	if opened.Load() != 1 || fetched.Load() != 1 {
		t.Errorf("opened %d times, fetched %d times", opened.Load(), fetched.Load())
	}
}

// atOnce lets four writers, each with a store of its own as processes have, do
// the same at the same time.
func atOnce(t *testing.T, dir string, write func(*image.Ingest) error) {
	t.Helper()
	begin := make(chan bool)
	var writers sync.WaitGroup
	for range 4 {
		s, err := image.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.Ingest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			<-begin
			if err := errors.Join(write(in), in.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	writers.Wait()
}

func TestWaitingForAnotherWriterEndsWithTheContext(t *testing.T) {
	s, in, _ := open(t)
	other, err := s.Ingest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	interrupted := errors.New("interrupted")
	content := []byte("content")
	_, err = in.Blob(t.Context(), descriptor("", content), func() (io.ReadCloser, error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(interrupted)
		_, err := other.Blob(ctx, descriptor("", content), reader(content)) // which in is about to fetch
		if !errors.Is(err, interrupted) {
			t.Errorf("got %v", err)
		}
		return reader(content)()
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	var mounted, got error
	var left []string
	onOwnThread(func() {
		mounted = errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"),
		)
		if mounted != nil {
			return
		}
		s, err := image.Open(dir)
		if err != nil {
			got = err
			return
		}
		in, err := s.Ingest(t.Context())
		if err != nil {
			got = err
			return
		}
		defer in.Close()
		content := make([]byte, 2<<20)
		_, got = in.Blob(t.Context(), descriptor("", content), reader(content))
		left, _ = filepath.Glob(filepath.Join(dir, "tmp/*/*")) // a fixed pattern
	})
	if mounted != nil {
		t.Fatal(mounted)
	}
	if !errors.Is(got, unix.ENOSPC) || hint.Of(got) != "make room on the file system of the image store" || len(left) > 0 {
		t.Errorf("got %v, hint %q, left %q", got, hint.Of(got), left)
	}
}

func TestABlobThatLostItsEndIsFetchedAgain(t *testing.T) {
	_, in, dir := open(t)
	content := []byte("content")
	put(t, in, "", content)
	if err := os.Truncate(files(t, dir, "blobs/sha256/*")[0], 3); err != nil {
		t.Fatal(err)
	}
	if fetched, err := in.Blob(t.Context(), descriptor("", content), reader(content)); !fetched || err != nil {
		t.Errorf("fetched: %v, %v", fetched, err)
	}
}

func TestJSONIsBoundedAndVerified(t *testing.T) {
	s, in, dir := open(t)
	large := put(t, in, "", bytes.Repeat([]byte(" "), image.MaxJSON+1))
	if _, err := s.ReadJSON(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
	small := put(t, in, "", []byte("{}"))
	if err := os.WriteFile(filepath.Join(dir, "blobs/sha256", small.Digest.Encoded()), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadJSON(small); err == nil || !strings.Contains(err.Error(), "does not match its name") {
		t.Error(err)
	}
}
