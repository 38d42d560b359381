package registry_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/registry"
)

// Others' judgement: images that skopeo pushed to Debian's docker-registry, and
// skopeo's opinion of our store.

// dockerRegistry runs docker-registry until the end of the test.
func dockerRegistry(t *testing.T) (host string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	host = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", dir, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := exec.Command("docker-registry", "serve", config)
	var said strings.Builder
	program.Stdout, program.Stderr = &said, &said
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill() // it has no state worth a clean end
		_ = program.Wait()
		if t.Failed() {
			t.Logf("docker-registry said:\n%s", said.String())
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return host
		}
		if time.Now().After(end) {
			t.Fatalf("docker-registry does not answer: %v", err)
		}
	}
}

// skopeo runs skopeo.
func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("skopeo", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// layoutOf writes an image into an OCI layout, for skopeo to take it from.
func layoutOf(t *testing.T, img v1.Image) (dir string) {
	t.Helper()
	dir = t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPullWhatSkopeoPushed(t *testing.T) {
	for name, push := range map[string]struct {
		options   []string
		mediaType string // of the layers
	}{
		"OCI with gzip":    {[]string{"--format", "oci", "--dest-compress-format", "gzip"}, "application/vnd.oci.image.layer.v1.tar+gzip"},
		"OCI with zstd":    {[]string{"--format", "oci", "--dest-compress-format", "zstd"}, "application/vnd.oci.image.layer.v1.tar+zstd"},
		"docker with gzip": {[]string{"--format", "v2s2"}, "application/vnd.docker.image.rootfs.diff.tar.gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			testkit.Need(t, "skopeo", "docker-registry")
			ref := dockerRegistry(t) + "/some/demo:1"
			source := layoutOf(t, three(t, assemble.Options{Compression: assemble.None}))
			copyTo := append([]string{"copy", "--dest-tls-verify=false"}, push.options...)
			skopeo(t, append(copyTo, "oci:"+source, "docker://"+ref)...)

			raw := skopeo(t, "inspect", "--raw", "--tls-verify=false", "docker://"+ref)
			if n := strings.Count(raw, `"`+push.mediaType+`"`); n != 3 {
				t.Fatalf("%d layers of type %s in what skopeo pushed:\n%s", n, push.mediaType, raw)
			}
			img, err := registry.Pull(t.Context(), first(openStore(t)), ref, registry.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantThree(t, img.Layers)
			inspected := skopeo(t, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+ref)
			if got := strings.TrimSpace(inspected); got != img.Digest.String() {
				t.Errorf("skopeo says %s, we %s", got, img.Digest)
			}
		})
	}
}

func TestSkopeoReadsTheStore(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo")
	hub := serve(t)
	store, dir := openStore(t)
	for _, name := range []string{"demo:1", "demo:2"} {
		ref := hub.push(t, three(t, assemble.Options{Compression: assemble.Zstd}), name)
		if _, err := registry.Pull(t.Context(), store, ref, registry.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	// skopeo copies the image out of the store, and verifies all of it; we pull
	// the copy.
	skopeo(t, "copy", "--dest-tls-verify=false", "oci:"+dir+":"+hub.host+"/demo:2", "docker://"+hub.host+"/copy:1")
	img, err := registry.Pull(t.Context(), store, hub.host+"/copy:1", registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantThree(t, img.Layers)
}

func TestDockerRegistryHasNoSuchImage(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "docker-registry")
	ref := dockerRegistry(t) + "/nothing:1"
	if err := wantFailure(t, ref); err.Error() != fmt.Sprintf("pull %q: not found in the registry", ref) {
		t.Error(err)
	}
}
