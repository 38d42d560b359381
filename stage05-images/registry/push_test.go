package registry_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// pulled is a store with an image in it.
func pulled(t *testing.T, img v1.Image) (store *image.Store, ref string) {
	t.Helper()
	hub, store := serve(t), first(openStore(t))
	ref = hub.push(t, img, "demo:1")
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
		t.Fatal(err)
	}
	return store, ref
}

// uploads are the requests that bring something to a registry.
func uploads(hub *server) []string {
	return slices.DeleteFunc(hub.asked("/uploads/"), func(r string) bool { return !strings.HasPrefix(r, "P") })
}

func TestWhatIsPushedIsPulledAgain(t *testing.T) {
	testkit.HostUnchanged(t)
	img := three(t, assemble.Options{Compression: assemble.Zstd})
	store, ref := pulled(t, img)
	other := serve(t)
	to := other.host + "/copy:2"
	var said bytes.Buffer
	d, err := registry.PushFrom(t.Context(), store, ref, to, registry.Options{Progress: &said})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), " pushed\n"); n != 3 {
		t.Errorf("said:\n%s", said.String())
	}
	again, err := registry.Pull(t.Context(), first(openStore(t)), to, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantThree(t, again.Layers)
	if want, _ := img.Digest(); again.Digest != d || d.String() != want.String() {
		t.Errorf("pushed %s, pulled %s; it was %s", d, again.Digest, want)
	}

	// What is there is not sent again.
	other.forget()
	said.Reset()
	if _, err := registry.PushFrom(t.Context(), store, ref, to, registry.Options{Progress: &said}); err != nil {
		t.Fatal(err)
	}
	if sent := uploads(other); len(sent) > 0 || strings.Count(said.String(), " already there\n") != 3 {
		t.Errorf("sent again: %q, said:\n%s", sent, said.String())
	}
}

func TestAPushThatBreaksIsBegunAnew(t *testing.T) {
	testkit.HostUnchanged(t)
	store, ref := pulled(t, three(t, assemble.Options{}))
	other := serve(t)
	var cut, ill atomic.Int32
	other.inject(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		switch {
		case r.Method == http.MethodPatch && cut.Add(1) <= 2:
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && ill.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	to := other.host + "/copy:2"
	if _, err := registry.PushFrom(t.Context(), store, ref, to, registry.Options{Retry: hasty}); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Pull(t.Context(), first(openStore(t)), to, registry.Options{}); err != nil {
		t.Error(err)
	}
}

// Debian's docker-registry mounts: the layers that one repository has appear in
// another one, and nothing is sent.
func TestAnotherRepositoryOfTheRegistryGivesItsLayers(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "docker-registry")
	host := dockerRegistry(t)
	store, ref := pulled(t, three(t, assemble.Options{}))
	if _, err := registry.PushFrom(t.Context(), store, ref, host+"/one:1", registry.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Pull(t.Context(), store, host+"/one:1", registry.Options{}); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	o := registry.Options{Progress: &said}
	if _, err := registry.PushFrom(t.Context(), store, host+"/one:1", host+"/two:1", o); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Copy(t.Context(), host+"/one:1", host+"/three:1", o); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), " already there\n"); n != 6 {
		t.Errorf("mounted %d layers of 6:\n%s", n, said.String())
	}
	for _, name := range []string{"/two:1", "/three:1"} {
		if img, err := registry.Pull(t.Context(), first(openStore(t)), host+name, registry.Options{}); err != nil {
			t.Error(err)
		} else {
			wantThree(t, img.Layers)
		}
	}
}

func TestALayerThatMayNotBeRedistributedIsNotPushed(t *testing.T) {
	testkit.HostUnchanged(t)
	var content bytes.Buffer
	if err := assemble.Files(assemble.Regular("c", "secret\n", 0o644))(&content); err != nil {
		t.Fatal(err)
	}
	foreign := static.NewLayer(content.Bytes(), types.OCIUncompressedRestrictedLayer)
	img, err := mutate.Append(two(t), mutate.Addendum{Layer: foreign, MediaType: types.OCIUncompressedRestrictedLayer})
	if err != nil {
		t.Fatal(err)
	}
	hub, store := serve(t), first(openStore(t))
	parsed, err := name.ParseReference(hub.host + "/demo:1")
	if err == nil {
		err = remote.Push(parsed, img, remote.WithNondistributable)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Pull(t.Context(), store, hub.host+"/demo:1", registry.Options{Platform: amd64}); err != nil {
		t.Fatal(err)
	}
	other := serve(t)
	if _, err := registry.PushFrom(t.Context(), store, hub.host+"/demo:1", other.host+"/demo:1", registry.Options{}); err != nil {
		t.Fatal(err)
	}
	digest, err := foreign.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if asked := other.asked(digest.Hex); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

func TestCopyTakesAllPlatformsOrOne(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, other := serve(t), serve(t)
	index := platforms(t, "linux/amd64", "linux/arm64/v8")
	from := hub.push(t, index, "demo:1")
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, err := registry.Copy(t.Context(), from, other.host+"/all:1", registry.Options{})
	if err != nil || got.String() != want.String() {
		t.Fatalf("copied %s, %v; want %s", got, err, want)
	}
	arm := ocispec.Platform{OS: "linux", Architecture: "arm64"}
	one, err := registry.Copy(t.Context(), from, other.host+"/one:1", registry.Options{Platform: arm})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/all:1", "/one:1"} {
		img, err := registry.Pull(t.Context(), first(openStore(t)), other.host+name, registry.Options{Platform: arm})
		if err != nil || img.Digest != one {
			t.Errorf("%s: %+v, %v", name, img, err)
		}
	}
	if err := wantFailure(t, other.host+"/one:1"); !strings.Contains(err.Error(), "no image for linux/amd64: there is linux/arm64/v8") {
		t.Error(err)
	}
}

func TestWhatARegistryHas(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	img := two(t)
	ref := hub.push(t, img, "some/demo:1")
	hub.push(t, img, "some/demo:2")
	hub.push(t, img, "other:1")
	tags, err := registry.Tags(t.Context(), hub.host+"/some/demo", registry.Options{})
	if err != nil || !slices.Equal(tags, []string{"1", "2"}) {
		t.Errorf("tags: %q, %v", tags, err)
	}
	all, err := registry.Catalog(t.Context(), hub.host, registry.Options{})
	slices.Sort(all)
	if err != nil || !slices.Equal(all, []string{"other", "some/demo"}) {
		t.Errorf("catalogue: %q, %v", all, err)
	}
	if _, err := registry.Tags(t.Context(), hub.host+"/none", registry.Options{}); err == nil || !strings.Contains(err.Error(), `none": not found in the registry`) {
		t.Errorf("tags of nothing: %v", err)
	}

	// A signature refers to the image (image-spec manifest.md, subject).
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := img.Size()
	if err != nil {
		t.Fatal(err)
	}
	signature := mutate.Subject(mutate.ConfigMediaType(mutate.MediaType(two(t), types.OCIManifestSchema1), "application/x-signature"),
		v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size})
	hub.push(t, signature.(v1.Image), "some/demo:signature")
	found, err := registry.Referrers(t.Context(), ref, registry.Options{})
	if err != nil || len(found) != 1 || found[0].ArtifactType != "application/x-signature" {
		t.Errorf("referrers: %+v, %v", found, err)
	}
}

// Others' judgement of what we push: skopeo reads it from Debian's
// docker-registry, umoci unpacks it, podman pulls it.
func TestOthersReadWhatWePush(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo", "umoci", "podman", "docker-registry")
	host, dir := dockerRegistry(t), t.TempDir()
	store, ref := pulled(t, three(t, assemble.Options{Config: ocispec.ImageConfig{Cmd: []string{"sh"}}}))
	to := host + "/some/demo:1"
	d, err := registry.PushFrom(t.Context(), store, ref, to, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(skopeo(t, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+to)); got != d.String() {
		t.Errorf("skopeo says %s, we %s", got, d)
	}
	skopeo(t, "copy", "--src-tls-verify=false", "docker://"+to, "oci:"+dir+"/layout:1")
	for _, command := range [][]string{
		{"umoci", "unpack", "--image", dir + "/layout:1", dir + "/bundle"},
		{"podman", "--root", dir + "/podman", "--runroot", dir + "/run", "--storage-driver", "vfs", "pull", "-q", "--tls-verify=false", to},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v: %s", command, err, out)
		}
	}
	// And back: podman pushes it under another name.
	theirs := host + "/podman:1"
	if out, err := exec.Command("podman", "--root", dir+"/podman", "--runroot", dir+"/run", "--storage-driver", "vfs",
		"push", "-q", "--tls-verify=false", to, theirs).CombinedOutput(); err != nil {
		t.Fatalf("podman push: %v: %s", err, out)
	}
	back, err := registry.Pull(t.Context(), store, theirs, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantThree(t, back.Layers)
	found, err := filepath.Glob(dir + "/bundle/rootfs/*/*")
	if err != nil || len(found) != 3 { // cache/fresh, etc/issue, etc/motd
		t.Errorf("umoci unpacked %q, %v", found, err)
	}
}

func TestProgressAsJSON(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, three(t, assemble.Options{}), "demo:1")
	var said bytes.Buffer
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Progress: &said, JSON: true}); err != nil {
		t.Fatal(err)
	}
	done := 0
	for line := range strings.Lines(said.String()) {
		var o struct {
			Layer, Layers int
			Bytes, Size   int64
			State, Digest string
		}
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Layers != 3 || o.Bytes > o.Size {
			t.Errorf("%q: %v", line, err)
		}
		if o.State == "pulled" && o.Layer == done+1 && o.Bytes == o.Size {
			done++
		}
	}
	if done != 3 {
		t.Errorf("said:\n%s", said.String())
	}
}
