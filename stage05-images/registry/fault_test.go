package registry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// The image that the faults are played with: two layers, linux/amd64.
var amd64 = ocispec.Platform{OS: "linux", Architecture: "amd64"}

func two(t *testing.T) v1.Image {
	t.Helper()
	img, err := assemble.Image([]assemble.Layer{
		assemble.Files(assemble.Regular("a", strings.Repeat("a", 100), 0o644)),
		assemble.Files(assemble.Regular("b", strings.Repeat("b", 100), 0o644)),
	}, assemble.Options{Platform: amd64, Compression: assemble.None})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// answer is what a registry with a fault says in place of the right answer.
type answer func(w http.ResponseWriter, right *httptest.ResponseRecorder)

// hasty tries again without pauses worth mentioning.
var hasty = registry.Retry{Pause: time.Millisecond, Stall: 200 * time.Millisecond}

// on answers requests whose path contains part.
func on(part string, a answer) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		right := httptest.NewRecorder()
		next.ServeHTTP(right, r)
		a(w, right)
		return true
	}
}

// status answers with an HTTP status and nothing else.
func status(code int) answer {
	return func(w http.ResponseWriter, _ *httptest.ResponseRecorder) { w.WriteHeader(code) }
}

// body answers with another body, and what Content-Length follows from that.
func body(change func([]byte) []byte) answer {
	return func(w http.ResponseWriter, right *httptest.ResponseRecorder) {
		w.Header().Set("Content-Type", right.Header().Get("Content-Type"))
		content := change(right.Body.Bytes())
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content) // the client may hang up: that is the test
	}
}

// chunked answers with another body and does not say how long it is.
func chunked(change func([]byte) []byte) answer {
	return func(w http.ResponseWriter, right *httptest.ResponseRecorder) {
		w.(http.Flusher).Flush()
		_, _ = w.Write(change(right.Body.Bytes()))
	}
}

// hangUp sends half of the body and closes the connection. Asked for the rest,
// it closes at once.
func hangUp(w http.ResponseWriter, right *httptest.ResponseRecorder) {
	content := right.Body.Bytes()
	if right.Code == http.StatusOK {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		w.(http.Flusher).Flush()
	}
	panic(http.ErrAbortHandler)
}

func flip(b []byte) []byte   { b[len(b)/2] ^= 1; return b }
func half(b []byte) []byte   { return b[:len(b)/2] }
func longer(b []byte) []byte { return append(b, "more"...) }
func replace(s string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(s) }
}

// field changes one field of a JSON document.
func field(name, value string) func([]byte) []byte {
	return func(b []byte) []byte {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(b, &doc); err != nil {
			return b
		}
		doc[name] = json.RawMessage(value)
		changed, err := json.Marshal(doc)
		if err != nil {
			return b
		}
		return changed
	}
}

// An error is one line that names the reference, the layer if it is about one,
// and the reason; the hint says what to do. HOST and LAYER stand for the
// registry's address and the second layer's digest.
func TestAFaultIsOneLineThatSaysWhatToDo(t *testing.T) {
	const (
		layer   = `pull "HOST/x:1": layer 2 of 2 (LAYER): `
		damaged = "it is damaged in the registry or was changed on the way; push the image again"
	)
	faults := map[string]struct {
		part   string // of the path of the request that fails
		answer answer
		want   string // the error
		hint   string
	}{
		"unknown image": {
			"/manifests/", status(404),
			`pull "HOST/x:1": not found in the registry`, "check the name and the tag, which is latest if none is given; the command tags lists those that are there",
		},
		"not logged in": {
			"/manifests/", status(401),
			`pull "HOST/x:1": unauthorized`, "check the name, or log in to HOST (docker login or podman login)",
		},
		"wrong account": {
			"/manifests/", status(403),
			`pull "HOST/x:1": access denied`, "the account that is logged in to HOST may not do this",
		},
		"too many requests": {
			"/manifests/", status(429),
			`pull "HOST/x:1": too many requests`, "wait, or log in: registries allow accounts more",
		},
		"registry is ill": {
			"/manifests/", status(503),
			`pull "HOST/x:1": the registry answered 503 Service Unavailable`, "the fault is the registry's; try again later",
		},
		"layer is missing": {
			"LAYER", status(404),
			layer + "not found in the registry", "the registry has lost a part of the image; push it again",
		},
		"layer is another": {
			"LAYER", body(flip),
			layer + "digest mismatch: content is sha256:…", damaged,
		},
		"layer is shorter": {
			"LAYER", body(half),
			layer + "size mismatch: the registry has N bytes, and the manifest says N", damaged,
		},
		"layer is longer": {
			"LAYER", chunked(longer),
			layer + "size mismatch: more than the N bytes that the manifest says", damaged,
		},
		"connection breaks": {
			"LAYER", hangUp,
			layer + "broke off after N of N bytes: EOF", "pull again; what has come already is kept",
		},
		"manifest is no JSON": {
			"/manifests/", body(replace("<html>")),
			`pull "HOST/x:1": parse manifest: invalid character '<' looking for beginning of value`, "",
		},
		"manifest is an index too (CVE-2021-41190)": {
			"/manifests/", body(field("manifests", "[]")),
			`pull "HOST/x:1": ambiguous manifest: it has both "manifests" and "layers"`, "",
		},
		"manifest says that it is an index": {
			"/manifests/", body(field("mediaType", `"application/vnd.oci.image.index.v1+json"`)),
			`pull "HOST/x:1": ambiguous manifest: its content is not of its media type "application/vnd.oci.image.index.v1+json"`, "",
		},
		"manifest is neither": {
			"/manifests/", body(replace(`{"schemaVersion":2}`)),
			`pull "HOST/x:1": not a manifest: it has neither "manifests" nor "layers"`, "",
		},
		"manifest is of 2015": {
			"/manifests/", body(replace(`{"schemaVersion":1,"fsLayers":[]}`)),
			`pull "HOST/x:1": manifest has schema version 1, want 2`, "it was made by docker before version 1.10; push the image again",
		},
		"manifest is endless": {
			"/manifests/", chunked(func([]byte) []byte { return bytes.Repeat([]byte(" "), image.MaxJSON+1) }),
			`pull "HOST/x:1": manifest is larger than 4 MiB`, "",
		},
		"no image": {
			"/manifests/", body(field("config", `{"mediaType":"application/vnd.cncf.helm.config.v1+json"}`)),
			`pull "HOST/x:1": no container image: its configuration is of type "application/vnd.cncf.helm.config.v1+json"`,
			"this reference names something else, like a chart or a signature",
		},
		"digest is a path (CVE-2024-3727)": {
			"/manifests/", body(field("layers", `[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:../../../etc/passwd","size":1}]`)),
			`pull "HOST/x:1": layer 1: digest "sha256:../../../etc/passwd": invalid checksum digest length`, "",
		},
		"layer of a kind that nobody knows": {
			"/manifests/", body(field("layers", `[{"mediaType":"application/x-floppy","digest":"`+emptyDigest+`","size":1}]`)),
			`pull "HOST/x:1": layer 1: media type "application/x-floppy" is not supported`, "",
		},
		"no layers": {
			"/manifests/", body(field("layers", `[]`)),
			`pull "HOST/x:1": image has 0 layers; overlayfs stacks 1 to 500`, "",
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub := serve(t)
			ref := hub.push(t, two(t), "x:1")
			second := digestOf(t, two(t), 1)
			hub.inject(on(strings.ReplaceAll(fault.part, "LAYER", second.String()), fault.answer))

			err := wantFailure(t, ref)
			text := strings.NewReplacer("HOST", hub.host, "LAYER", second.String()[:19])
			if want := text.Replace(fault.want); !similar(err.Error(), want) {
				t.Errorf("error\n got %s\nwant %s", err, want)
			}
			if got, want := hint.Of(err), text.Replace(fault.hint); got != want {
				t.Errorf("hint\n got %s\nwant %s", got, want)
			}
		})
	}
}

// emptyDigest is the digest of nothing.
const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// digestOf returns the digest of the blob of layer i.
func digestOf(t *testing.T, img v1.Image, i int) v1.Hash {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	d, err := layers[i].Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// wantFailure pulls into a new store and wants an error of one line, no image,
// and nothing unfinished (openStore).
func wantFailure(t *testing.T, ref string) error {
	t.Helper()
	store, _ := openStore(t)
	_, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64, Retry: hasty})
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line: %q", err)
	}
	if list, err := store.List(); err != nil || len(list) > 0 {
		t.Errorf("the store has %v, %v", list, err)
	}
	return err
}

// similar compares texts; N in want stands for a number and "sha256:…" for a
// digest.
func similar(got, want string) bool {
	words, pattern := strings.Fields(got), strings.Fields(want)
	if len(words) != len(pattern) {
		return false
	}
	for i, p := range pattern {
		number := strings.Trim(words[i], "0123456789") == ""
		digest := strings.HasPrefix(words[i], "sha256:")
		if words[i] != p && !(p == "N" && number) && !(p == "sha256:…" && digest) {
			return false
		}
	}
	return true
}

func TestNobodyIsListening(t *testing.T) {
	testkit.HostUnchanged(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = wantFailure(t, host+"/x:1")
	if want := fmt.Sprintf("pull %q: connection refused", host+"/x:1"); err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
	if want := fmt.Sprintf("is a registry listening on %s?", host); hint.Of(err) != want {
		t.Errorf("hint %q, want %q", hint.Of(err), want)
	}
}

func TestNoImageForThisPlatform(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	ref := hub.push(t, platforms(t, "unknown/unknown", "linux/arm64/v8", "linux/s390x"), "x:1")
	if err := wantFailure(t, ref); !strings.HasSuffix(err.Error(), `no image for linux/amd64: there is linux/arm64/v8, linux/s390x`) {
		t.Errorf("index: %v", err)
	}
	alone, err := assemble.Image([]assemble.Layer{assemble.Files()}, assemble.Options{Platform: ocispec.Platform{OS: "linux", Architecture: "riscv64"}})
	if err != nil {
		t.Fatal(err)
	}
	ref = hub.push(t, alone, "x:2")
	if err := wantFailure(t, ref); !strings.HasSuffix(err.Error(), `no image for linux/amd64: there is linux/riscv64`) {
		t.Errorf("manifest: %v", err)
	}
}

// lying is an image whose configuration says something else of its layers.
func lying(t *testing.T, lie func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	img := two(t)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	lie(config)
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTheUnpackedLayerIsVerifiedToo(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	ref := hub.push(t, lying(t, func(c *v1.ConfigFile) { c.RootFS.DiffIDs[1] = c.RootFS.DiffIDs[0] }), "x:1")
	err := wantFailure(t, ref)
	if !strings.Contains(err.Error(), "layer 2 of 2") || !strings.Contains(err.Error(), "digest mismatch: unpacked it is sha256:") {
		t.Error(err)
	}
}

func TestALayerWithoutADiffID(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	ref := hub.push(t, lying(t, func(c *v1.ConfigFile) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1] }), "x:1")
	if err := wantFailure(t, ref); !strings.HasSuffix(err.Error(), "configuration has 1 diff_ids for 2 layers") {
		t.Error(err)
	}
}

func TestALayerThatIsNotWhatItsMediaTypeSays(t *testing.T) {
	for name, mediaType := range map[string]types.MediaType{"gzip": types.OCILayer, "zstd": types.OCILayerZStd, "none": types.OCIUncompressedLayer} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub := serve(t)
			img, err := mutate.AppendLayers(two(t), static.NewLayer([]byte(strings.Repeat("this is no archive ", 100)), mediaType))
			if err != nil {
				t.Fatal(err)
			}
			if err := wantFailure(t, hub.push(t, img, "x:1")); !strings.Contains(err.Error(), "layer 3 of 3 (sha256:") {
				t.Error(err)
			}
		})
	}
}

// wantsToken makes a registry ask for a token, as Docker Hub does: the answer
// to a request without one says where to get it.
func wantsToken(hub *server) fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"let-me-in"}`)
		case r.Header.Get("Authorization") != "Bearer let-me-in":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+hub.host+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	}
}

func TestARegistryThatWantsAToken(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	ref := hub.push(t, two(t), "x:1")
	hub.inject(wantsToken(hub))
	if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64}); err != nil {
		t.Fatal(err)
	}
	if len(hub.asked("/token")) == 0 {
		t.Error("nobody asked for a token")
	}
}

// A layer that registries may not have: its descriptor says where it is. The
// registry's token must not go there (CVE-2020-15157).
func TestALayerThatIsSomewhereElse(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	var content bytes.Buffer
	if err := assemble.Files(assemble.Regular("c", "from elsewhere\n", 0o644))(&content); err != nil {
		t.Fatal(err)
	}
	var asked *http.Request
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		_, _ = w.Write(content.Bytes())
	}))
	t.Cleanup(elsewhere.Close)

	img, err := mutate.Append(two(t), mutate.Addendum{
		Layer:     static.NewLayer(content.Bytes(), types.OCIUncompressedRestrictedLayer),
		MediaType: types.OCIUncompressedRestrictedLayer,
		// A name, since an address of this host would be refused.
		URLs: []string{strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1) + "/layer"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := hub.push(t, img, "x:1") // without the third layer
	hub.inject(wantsToken(hub))
	pulled, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(pulled.Layers[0], "c")); string(got) != "from elsewhere\n" {
		t.Errorf("the third layer: %q, %v", got, err)
	}
	if asked == nil || asked.Header.Get("Authorization") != "" {
		t.Errorf("asked elsewhere: %+v", asked)
	}
}
