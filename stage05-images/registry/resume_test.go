package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// Connections that break: what has come is not fetched again.

// noise is an image of one layer with a file of n bytes that do not compress.
func noise(t *testing.T, n int, c assemble.Compression) v1.Image {
	t.Helper()
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content) // never fails
	img, err := assemble.Image([]assemble.Layer{assemble.Files(assemble.Regular("noise", string(content), 0o644))},
		assemble.Options{Platform: amd64, Compression: c})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// wire sends the first layer of an image as a bad line would.
type wire struct {
	content []byte
	digest  string
	most    int  // bytes for each connection; 0: all
	deaf    bool // it knows of no ranges
	stalls  bool // after most bytes nothing comes, and the connection stays
	mends   bool // only the first connection is bad
	held    chan struct{}

	mutex sync.Mutex
	sent  int
	asked []string // the Range headers
}

// badLine is a wire in front of the registry.
func badLine(t *testing.T, hub *server, img v1.Image, w *wire) *wire {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if w.content, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	w.digest, w.held = digestOf(t, img, 0).String(), make(chan struct{}, 100)
	hub.inject(func(rw http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !strings.HasSuffix(r.URL.Path, w.digest) {
			return false
		}
		w.send(rw, r)
		return true
	})
	return w
}

func (w *wire) send(rw http.ResponseWriter, r *http.Request) {
	var from int
	status := http.StatusOK
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && !w.deaf {
		status = http.StatusPartialContent
		rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(w.content)-1, len(w.content)))
	} else {
		from = 0
	}
	content := w.content[from:]
	rw.Header().Set("Content-Length", fmt.Sprint(len(content)))
	rw.WriteHeader(status)
	w.mutex.Lock()
	if w.most > 0 && w.most < len(content) && !(w.mends && len(w.asked) > 0) {
		content = content[:w.most]
	}
	w.sent += len(content)
	w.asked = append(w.asked, r.Header.Get("Range"))
	w.mutex.Unlock()
	_, _ = rw.Write(content)
	if from+len(content) == len(w.content) {
		return
	}
	rw.(http.Flusher).Flush()
	if w.stalls {
		w.held <- struct{}{}
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// wantNoise pulls the image and compares the file.
func wantNoise(t *testing.T, store *image.Store, ref string, n int) {
	t.Helper()
	pulled, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64, Retry: hasty})
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	got, err := os.ReadFile(filepath.Join(pulled.Layers[0], "noise"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v: not what was pushed", len(got), err)
	}
}

func TestABrokenConnectionIsContinued(t *testing.T) {
	const size = 1 << 20
	for name, c := range map[string]assemble.Compression{"gzip": assemble.Gzip, "zstd": assemble.Zstd, "none": assemble.None} {
		for how, w := range map[string]*wire{"cut": {most: 300_000}, "stalled": {most: 600_000, stalls: true}} {
			t.Run(name+" "+how, func(t *testing.T) {
				testkit.HostUnchanged(t)
				hub, store := serve(t), first(openStore(t))
				img := noise(t, size, c)
				ref := hub.push(t, img, "x:1")
				line := badLine(t, hub, img, &wire{most: w.most, stalls: w.stalls})
				wantNoise(t, store, ref, size)
				if len(line.asked) < 2 || line.sent != len(line.content) {
					t.Errorf("sent %d of %d bytes, for %q", line.sent, len(line.content), line.asked)
				}
			})
		}
	}
}

func TestAServerWithoutRangesIsReadFromTheBeginning(t *testing.T) {
	testkit.HostUnchanged(t)
	hub, store := serve(t), first(openStore(t))
	img := noise(t, 1<<20, assemble.Gzip)
	ref := hub.push(t, img, "x:1")
	badLine(t, hub, img, &wire{most: 700_000, deaf: true, mends: true})
	wantNoise(t, store, ref, 1<<20)
}

// A pull is killed in the middle of a layer. What has come is on the disk; the
// next pull reads it there and asks for the rest.
func TestAKilledPullIsContinued(t *testing.T) {
	const size = 4 << 20
	for name, damage := range map[string]bool{"as it was": false, "damaged meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub := serve(t)
			_, dir := openStore(t)
			img := noise(t, size, assemble.Gzip)
			ref := hub.push(t, img, "x:1")
			line := badLine(t, hub, img, &wire{most: 3 << 20, stalls: true})

			child := exec.Command(os.Args[0], "pull", dir, ref)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, line.held, "three quarters of the layer")
			partial := filepath.Join(dir, "partial", "sha256-"+line.digest[len("sha256:"):])
			for end := time.Now().Add(10 * time.Second); fileSize(partial) < 2<<20 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait() // it was killed
			kept := fileSize(partial)
			if kept < 2<<20 {
				t.Fatalf("%d bytes were kept", kept)
			}
			if damage {
				flipFile(t, partial)
			}
			line = badLine(t, hub, img, &wire{})
			store, err := image.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			wantNoise(t, store, ref, size)
			want := []string{fmt.Sprintf("bytes=%d-%d", kept, len(line.content)-1)}
			if damage { // that is known in the end, and then all of it is fetched
				want = append(want, "")
			}
			if fmt.Sprint(line.asked) != fmt.Sprint(want) {
				t.Errorf("%d bytes were kept; asked for %q", kept, line.asked)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "partial")); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// fileSize is 0 if there is no file.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func flipFile(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, flip(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// busy makes the registry answer a path with the status so many times, and
// counts.
func busy(part string, times int, code int, after string) (f fault, asked func() int) {
	var mutex sync.Mutex
	n := 0
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			mutex.Lock()
			defer mutex.Unlock()
			if !strings.Contains(r.URL.Path, part) {
				return false
			}
			if n++; n > times {
				return false
			}
			if after != "" {
				w.Header().Set("Retry-After", after)
			}
			w.WriteHeader(code)
			return true
		}, func() int {
			mutex.Lock()
			defer mutex.Unlock()
			return n
		}
}

func TestABusyRegistryIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		part, after string
		code        int
		atLeast     time.Duration
	}{
		"manifest, 500":                 {"/manifests/", "", 500, 0},
		"layer, 503":                    {"/blobs/", "", 503, 0},
		"layer, 429 and what it asks":   {"/blobs/", "1", 429, time.Second},
		"manifest, 429 and an old date": {"/manifests/", "Thu, 01 Jan 1970 00:00:00 GMT", 429, 0},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			hub, store := serve(t), first(openStore(t))
			ref := hub.push(t, two(t), "x:1")
			f, _ := busy(c.part, 1, c.code, c.after)
			hub.inject(f)
			begin := time.Now()
			if _, err := registry.Pull(t.Context(), store, ref, registry.Options{Platform: amd64, Retry: hasty}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < c.atLeast {
				t.Errorf("asked again after %v; the registry wanted %v", took, c.atLeast)
			}
		})
	}
}

func TestARegistryThatWantsADayIsNotWaitedFor(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	ref := hub.push(t, two(t), "x:1")
	f, asked := busy("/manifests/", 100, 429, "86400")
	hub.inject(f)
	if err := wantFailure(t, ref); !strings.Contains(err.Error(), "too many requests") || asked() != 1 {
		t.Errorf("asked %d times: %v", asked(), err)
	}
}
