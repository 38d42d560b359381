package registry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// A registry of go-containerregistry, in this process, that keeps a record of
// what it is asked for. (skopeo_test.go has a real one.)
type server struct {
	host string // host:port

	mutex    sync.Mutex
	requests []string // method and path, except /v2/

	fault fault
}

// fault may answer a request in place of the registry; it then returns true.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// serve runs a registry until the end of the test.
func serve(t testing.TB) *server {
	t.Helper()
	s := &server{}
	real := ggcr.New(ggcr.Logger(quiet))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := s.record(r)
		if fault == nil || !fault(w, r, real) {
			real.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(web.Close)
	s.host = strings.TrimPrefix(web.URL, "http://")
	return s
}

// record notes a request and returns the fault to try on it.
func (s *server) record(r *http.Request) fault {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if r.URL.Path != "/v2/" {
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	}
	return s.fault
}

// inject makes the registry faulty.
func (s *server) inject(f fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.fault = f
}

// forget empties the record and removes the fault.
func (s *server) forget() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests, s.fault = nil, nil
}

// asked returns the requests whose path contains part.
func (s *server) asked(part string) (found []string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, r := range s.requests {
		if strings.Contains(r, part) {
			found = append(found, r)
		}
	}
	return found
}

// push pushes an image or an index and forgets the requests that it took.
func (s *server) push(t testing.TB, img remote.Taggable, name string) (ref string) {
	t.Helper()
	ref = s.host + "/" + name
	if err := registry.Push(t.Context(), img, ref); err != nil {
		t.Fatal(err)
	}
	s.forget()
	return ref
}

// three is an image of three layers: the second changes and deletes files of
// the first, the third hides a directory and links to a file of the second.
func three(t testing.TB, o assemble.Options) v1.Image {
	t.Helper()
	img, err := assemble.Image([]assemble.Layer{
		assemble.Files(
			assemble.Directory("etc"),
			assemble.Regular("etc/motd", "one\n", 0o644),
			assemble.Regular("etc/old", "one\n", 0o644),
			assemble.Directory("cache"),
			assemble.Regular("cache/junk", "one\n", 0o644),
		),
		assemble.Files(
			assemble.Regular("etc/motd", "two\n", 0o600),
			assemble.Whiteout("etc/old"),
		),
		assemble.Files(
			assemble.Directory("cache"),
			assemble.Opaque("cache"),
			assemble.Regular("cache/fresh", "three\n", 0o644),
			assemble.Hardlink("etc/issue", "etc/motd"),
		),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// openStore opens a new store. Before the test ends it is looked at: nothing
// unfinished may be left in it, and nothing may be wrong.
func openStore(t testing.TB) (*image.Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "images")
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(filepath.Join(dir, "tmp"))
		if err != nil || len(left) > 0 {
			t.Errorf("unfinished in the store: %v (%v)", left, err)
		}
		wrong, err := s.Check(context.Background(), image.CheckOptions{})
		if err != nil || len(wrong) > 0 {
			t.Errorf("wrong in the store: %v (%v)", wrong, err)
		}
	})
	return s, dir
}

// wantThree checks the three unpacked layers, topmost first, as overlayfs will
// see them.
func wantThree(t *testing.T, layers []string) {
	t.Helper()
	if len(layers) != 3 {
		t.Fatalf("%d layers: %q", len(layers), layers)
	}
	for path, want := range map[string]string{
		"2/etc/motd":    "one\n",
		"2/cache/junk":  "one\n",
		"1/etc/motd":    "two\n",
		"0/cache/fresh": "three\n",
		"0/etc/issue":   "two\n", // of the layer next below
	} {
		got, err := os.ReadFile(filepath.Join(layers[path[0]-'0'], path[2:]))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	var old unix.Stat_t
	if err := unix.Lstat(filepath.Join(layers[1], "etc/old"), &old); err != nil || old.Mode&unix.S_IFMT != unix.S_IFCHR || old.Rdev != 0 {
		t.Errorf("whiteout of etc/old: mode %o, device %d, %v", old.Mode, old.Rdev, err)
	}
	opaque := make([]byte, 8)
	n, err := unix.Lgetxattr(filepath.Join(layers[0], "cache"), "trusted.overlay.opaque", opaque)
	if err != nil || string(opaque[:n]) != "y" {
		t.Errorf("opaque cache: %q, %v", opaque, err)
	}
}

func TestPullFetchesVerifiesAndUnpacks(t *testing.T) {
	for name, c := range map[string]assemble.Compression{"gzip": assemble.Gzip, "zstd": assemble.Zstd, "none": assemble.None} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub, store := serve(t), first(openStore(t))
			pushed := three(t, assemble.Options{Compression: c, Config: ocispec.ImageConfig{Cmd: []string{"sh"}}})
			ref := hub.push(t, pushed, "demo:1")

			img, err := registry.Pull(t.Context(), store, ref, registry.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantThree(t, img.Layers)
			if digest, _ := pushed.Digest(); img.Digest.String() != digest.String() || img.Reference != ref {
				t.Errorf("pulled %s %s, pushed %s %s", img.Reference, img.Digest, ref, digest)
			}
			if img.Config.Config.Cmd[0] != "sh" {
				t.Errorf("config: %+v", img.Config)
			}
			found, err := store.Find(ref)
			if err != nil || found.Digest != img.Digest {
				t.Errorf("find after pull: %+v, %v", found, err)
			}
		})
	}
}

func first[A, B any](a A, _ B) A { return a }

func TestPullingAgainFetchesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, three(t, assemble.Options{}), "demo:1")
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := hub.asked("/blobs/"); len(got) != 4 { // three layers and the configuration
		t.Errorf("the first pull asked for %q", got)
	}
	hub.forget()

	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := hub.asked(""); len(got) != 1 || !strings.Contains(got[0], "/manifests/1") {
		t.Errorf("the second pull asked for %q; the tag may have moved, nothing else", got)
	}
}

func TestAnImageThatSharesLayersFetchesOnlyTheNewOnes(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	one := three(t, assemble.Options{})
	added, err := assemble.Image([]assemble.Layer{assemble.Files(assemble.Regular("new", "four\n", 0o644))}, assemble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fourth, err := added.Layers()
	if err != nil {
		t.Fatal(err)
	}
	two, err := mutate.AppendLayers(one, fourth[0])
	if err != nil {
		t.Fatal(err)
	}
	ref := hub.push(t, one, "demo:1")
	before, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ref = hub.push(t, two, "demo:2")
	after, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := hub.asked("/blobs/"); len(got) != 2 { // the fourth layer and the configuration
		t.Errorf("asked for %q", got)
	}
	if strings.Join(after.Layers[1:], ",") != strings.Join(before.Layers, ",") {
		t.Errorf("the layers are not shared:\n%q\n%q", before.Layers, after.Layers)
	}
}

func TestTwoPullsAtOnceFetchAndUnpackOnce(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	_, dir := openStore(t)
	ref := hub.push(t, three(t, assemble.Options{}), "demo:1")
	hub.inject(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			time.Sleep(50 * time.Millisecond) // time for the others to ask as well
		}
		return false
	})

	var pulls sync.WaitGroup
	images := make([]*image.Image, 4)
	for i := range images {
		pulls.Go(func() {
			store, err := image.Open(dir) // as another process would
			if err != nil {
				t.Error(err)
				return
			}
			if images[i], err = registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	pulls.Wait()
	if t.Failed() {
		return
	}
	wantThree(t, images[0].Layers)
	if got := hub.asked("/blobs/"); len(got) != 4 {
		t.Errorf("asked for %q", got)
	}
}

func TestATagThatMovedIsFollowed(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, three(t, assemble.Options{}), "demo:1")
	before, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	hub.push(t, three(t, assemble.Options{Config: ocispec.ImageConfig{Cmd: []string{"ls"}}}), "demo:1")
	after, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if before.Digest == after.Digest {
		t.Error("the old image was returned")
	}
	if list, err := store.List(); err != nil || len(list) != 1 || list[0].Digest != after.Digest {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func TestPullingAgainMendsADamagedStore(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	store, dir := openStore(t)
	pushed := three(t, assemble.Options{})
	ref := hub.push(t, pushed, "demo:1")
	img, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := pushed.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{config.Hex, img.Digest.Encoded(), digestOf(t, pushed, 0).Hex} {
		path := filepath.Join(dir, "blobs/sha256", name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, flip(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(img.Layers[2]); err != nil {
		t.Fatal(err)
	}
	if img, err = registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	wantThree(t, img.Layers)
}

func TestAReferenceWithADigest(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	img := three(t, assemble.Options{})
	hub.push(t, img, "demo:1")
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref := hub.host + "/demo@" + digest.String()
	pulled, err := registry.Pull(t.Context(), store, ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if pulled.Digest.String() != digest.String() || pulled.Reference != ref {
		t.Errorf("pulled %+v", pulled)
	}
	hub.forget()
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := hub.asked(""); len(got) > 0 {
		t.Errorf("what has a digest cannot change, but the registry was asked for %q", got)
	}
}

// platforms is an index of the image for several platforms.
func platforms(t *testing.T, names ...string) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, name := range names {
		p, err := v1.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		img := three(t, assemble.Options{
			Platform: ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant},
			Config:   ocispec.ImageConfig{Labels: map[string]string{"for": name}},
		})
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

func TestAnIndexGivesTheImageOfThePlatform(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	ref := hub.push(t, platforms(t, "unknown/unknown", "linux/s390x", "linux/amd64/v3", "linux/amd64", "linux/arm64/v8"), "demo:1")
	for want, platform := range map[string]ocispec.Platform{
		"linux/amd64":    {OS: "linux", Architecture: "amd64"},
		"linux/amd64/v3": {OS: "linux", Architecture: "amd64", Variant: "v3"},
		"linux/arm64/v8": {OS: "linux", Architecture: "arm64"},
		"linux/s390x":    {OS: "linux", Architecture: "s390x"},
	} {
		img, err := registry.Pull(t.Context(), first(openStore(t)), ref, registry.Options{Platform: platform})
		if err != nil {
			t.Errorf("%s: %v", want, err)
		} else if got := img.Config.Config.Labels["for"]; got != want {
			t.Errorf("%s: got the image for %s", want, got)
		}
	}
}

func TestAnIndexPulledAgainFetchesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	host := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	ref := hub.push(t, platforms(t, "linux/arm64", "linux/amd64"), "demo:1")
	for range 2 {
		hub.forget()
		if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: host}); err != nil {
			t.Fatal(err)
		}
	}
	if got := hub.asked(""); len(got) != 1 {
		t.Errorf("the second pull asked for %q", got)
	}
}

func TestServeIsForThisHostOnly(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "192.0.2.1:0", "[::]:0"} {
		if _, _, err := registry.Serve(t.Context(), addr); err == nil {
			t.Errorf("Serve(%q) listens to everyone", addr)
		}
	}
}

func TestServeStopsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	host, stop, err := registry.Serve(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push(ctx, three(t, assemble.Options{}), host+"/demo:1"); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 2 { // stopping twice is fine
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	err = registry.Push(t.Context(), three(t, assemble.Options{}), host+"/demo:1")
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after the end: %v", err)
	}
}
