package image_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// Others' judgement: umoci, skopeo, buildah and podman read what we write, and we
// read what they write.

// tool runs a program of others, and returns its output.
func tool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// with are the words of podman or buildah with storage of its own below dir.
func with(program, dir string, args ...string) []string {
	return append([]string{program, "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver=vfs"}, args...)
}

// wantText asserts that a layer has /text with this content.
func wantText(t *testing.T, img *image.Image, want string) {
	t.Helper()
	for _, dir := range img.Layers {
		text, err := os.ReadFile(filepath.Join(dir, "text"))
		if err == nil {
			if string(text) != want {
				t.Errorf("/text has %q, want %q", text, want)
			}
			return
		}
	}
	t.Errorf("no layer has /text: %q", img.Layers)
}

func TestWhatOthersSave(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "umoci", "skopeo", "buildah", "podman")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text"), "hello\n")
	// umoci makes an image, and skopeo archives of it.
	tool(t, dir, "umoci", "init", "--layout", "layout")
	tool(t, dir, "umoci", "new", "--image", "layout:base")
	tool(t, dir, "umoci", "insert", "--image", "layout:base", "text", "/text")
	tool(t, dir, "umoci", "insert", "--image", "layout:base", "--opaque", "text", "/etc/text")
	tool(t, dir, "umoci", "config", "--image", "layout:base", "--config.cmd", "/text", "--config.env", "A=1", "--config.workingdir", "/etc",
		"--config.user", "7:8", "--config.volume", "/data", "--config.stopsignal", "SIGINT", "--config.label", "a=b")
	tool(t, dir, "skopeo", "copy", "--quiet", "oci:layout:base", "oci-archive:skopeo-oci.tar:demo:1")
	tool(t, dir, "skopeo", "copy", "--quiet", "oci:layout:base", "docker-archive:skopeo-docker.tar:demo:1")
	tool(t, filepath.Join(dir, "layout"), "tar", "cf", "../umoci.tar", ".")
	// buildah makes another, and podman saves it with a second one.
	tool(t, dir, with("buildah", dir, "from", "--name", "work", "scratch")...)
	tool(t, dir, with("buildah", dir, "copy", "--quiet", "work", "text", "/text")...)
	tool(t, dir, with("buildah", dir, "config", "--cmd", "/text", "--env", "A=1", "--workingdir", "/etc", "--user", "7:8", "--volume", "/data",
		"--stop-signal", "SIGINT", "--label", "a=b", "--healthcheck", "CMD /check", "work")...)
	tool(t, dir, with("buildah", dir, "commit", "--quiet", "--format", "docker", "work", "demo:1")...)
	tool(t, dir, with("buildah", dir, "push", "--quiet", "demo:1", "oci-archive:buildah.tar:demo:1")...)
	tool(t, dir, with("podman", dir, "tag", "demo:1", "demo:2")...)
	tool(t, dir, with("podman", dir, "save", "--quiet", "--multi-image-archive", "--output", "podman-docker.tar", "demo:1", "demo:2")...)
	tool(t, dir, with("podman", dir, "save", "--quiet", "--format", "oci-archive", "--output", "podman-oci.tar", "demo:1")...)
	tool(t, dir, with("buildah", dir, "rm", "--all")...)

	for name, want := range map[string][]string{
		"skopeo-oci.tar": {"demo:1"}, "skopeo-docker.tar": {"demo:1"}, "umoci.tar": {"base"}, "buildah.tar": {"demo:1"},
		"podman-docker.tar": {"localhost/demo:1", "localhost/demo:2"}, "podman-oci.tar": {"localhost/demo:1"},
	} {
		t.Run(name, func(t *testing.T) {
			archive, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := loaded(t, archive)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, s); !slices.Equal(got, want) {
				t.Errorf("names %q, want %q", got, want)
			}
			img, err := s.Find(want[0])
			if err != nil {
				t.Fatal(err)
			}
			wantText(t, img, "hello\n")
			c := img.Config.Config
			if c.Cmd[0] != "/text" || c.WorkingDir != "/etc" || c.User != "7:8" || c.StopSignal != "SIGINT" || c.Labels["a"] != "b" || !slices.Contains(c.Env, "A=1") {
				t.Errorf("%+v", c)
			}
			if v, err := image.Volumes(c); err != nil || !slices.Equal(v, []string{"/data"}) {
				t.Errorf("volumes: %q, %v", v, err)
			}
			if problems, err := s.Check(t.Context(), image.CheckOptions{}); err != nil || len(problems) > 0 {
				t.Errorf("%v, %v", problems, err)
			}
			details, err := s.Inspect(want[0])
			if err != nil {
				t.Fatal(err)
			}
			if h := details.Healthcheck; name == "podman-docker.tar" && (h == nil || !slices.Equal(h.Test, []string{"CMD", "/check"})) {
				t.Errorf("health check: %+v", h)
			}
		})
	}
}

func TestOthersReadWhatWeSave(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo", "podman", "umoci")
	s, in, _ := open(t)
	archive := threeLayers(t, s, in)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ours.tar"), archive, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"docker-archive:ours.tar:demo:1", "docker-archive:ours.tar:reg.example/other:latest", "oci-archive:ours.tar:docker.io/library/demo:1"} {
		copied := filepath.Join(t.TempDir(), "copy")
		tool(t, dir, "skopeo", "copy", "--quiet", source, "oci:"+copied+":copy")
		tool(t, copied, "umoci", "unpack", "--image", copied+":copy", "bundle")
		if text := readFile(t, filepath.Join(copied, "bundle/rootfs/text")); text != "three\n" {
			t.Errorf("%s: /text has %q", source, text)
		}
	}
	tool(t, dir, with("podman", dir, "load", "--quiet", "--input", "ours.tar")...)
	listed := tool(t, dir, with("podman", dir, "images", "--format", "{{.Repository}}:{{.Tag}} {{.Id}}")...)
	details, err := s.Inspect("demo:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker.io/library/demo:1", "reg.example/other:latest"} {
		if want := name + " " + details.ID.Encoded()[:12]; !strings.Contains(listed, want) {
			t.Errorf("podman lists\n%swant %s", listed, want)
		}
	}
	saved := tool(t, dir, with("podman", dir, "save", "--quiet", "demo:1")...)
	if _, names, err := loaded(t, []byte(saved)); err != nil || !strings.HasPrefix(names, "demo:1 ") {
		t.Errorf("podman saved %s, %v", names, err)
	}
}

// threeLayers stores an image of a plain layer and two of gzip, with two names, and
// returns the archive of it. (umoci 0.4 has no zstd.)
func threeLayers(t *testing.T, s *image.Store, in *image.Ingest) []byte {
	t.Helper()
	var manifest ocispec.Manifest
	manifest.SchemaVersion = 2
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for i, mediaType := range []string{ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerGzip} {
		content := tarOf(t, assemble.Regular("text", []string{"one\n", "two\n", "three\n"}[i], 0o644))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, descriptor("", content).Digest)
		if i > 0 {
			content = packed(t, content, gzipped)
		}
		manifest.Layers = append(manifest.Layers, put(t, in, mediaType, content))
	}
	manifest.Config = put(t, in, ocispec.MediaTypeImageConfig, marshal(t, config))
	d := put(t, in, ocispec.MediaTypeImageManifest, marshal(t, manifest))
	var lower []string
	for i, chain := range image.ChainIDs(&config) {
		dir, _, err := in.Unpack(t.Context(), image.Layer{Blob: manifest.Layers[i], DiffID: config.RootFS.DiffIDs[i], ChainID: chain, Lower: lower})
		if err != nil {
			t.Fatal(err)
		}
		lower = append([]string{dir}, lower...)
	}
	_, err := in.Commit(t.Context(), "demo:1", d)
	if err = errors.Join(err, s.Tag(t.Context(), "demo:1", "reg.example/other")); err != nil {
		t.Fatal(err)
	}
	return saved(t, s, "demo:1", "reg.example/other")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The store is an image layout: others read it where it is.
func TestOthersReadTheStore(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo", "umoci", "buildah")
	s, in, store := open(t)
	threeLayers(t, s, in)
	dir := t.TempDir()
	const name = "docker.io/library/demo:1"
	if listed := tool(t, dir, "umoci", "list", "--layout", store); listed != name+"\nreg.example/other:latest\n" {
		t.Errorf("umoci lists %q", listed)
	}
	var stat struct {
		History []struct{ Layer *struct{ Digest string } }
	}
	raw := tool(t, dir, "umoci", "stat", "--json", "--image", store+":"+name)
	if err := json.Unmarshal([]byte(raw), &stat); err != nil {
		t.Error(err, raw)
	}
	var inspected struct{ Digest, Architecture string }
	if err := json.Unmarshal([]byte(tool(t, dir, "skopeo", "inspect", "oci:"+store+":"+name)), &inspected); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find("demo:1")
	if err != nil || inspected.Digest != found.Digest.String() || inspected.Architecture != "amd64" {
		t.Errorf("skopeo says %+v, we %s, %v", inspected, found.Digest, err)
	}
	lower, err := os.MkdirTemp("", "skiff-layout-") // buildah makes a name of the path, and wants it in lower case
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(lower)
	if err := os.Symlink(store, lower+"/store"); err != nil {
		t.Fatal(err)
	}
	tool(t, dir, with("buildah", dir, "pull", "--quiet", "oci:"+lower+"/store:"+name)...)
	if listed := tool(t, dir, with("buildah", dir, "images", "--format", "{{.Digest}}")...); strings.TrimSpace(listed) != found.Digest.String() {
		t.Errorf("buildah lists %s, want %s", listed, found.Digest)
	}
}

// And others write to it, where it is: what has no unpacked layers gets them.
func TestOthersWriteToTheStore(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo", "umoci")
	s, in, store := open(t)
	threeLayers(t, s, in)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text"), "umoci's\n")
	tool(t, dir, "umoci", "insert", "--image", store+":docker.io/library/demo:1", "--tag", "changed", "text", "/text")
	tool(t, dir, "skopeo", "copy", "--quiet", "oci:"+store+":changed", "oci:"+store+":docker.io/library/copy:1")
	if _, err := s.Find("copy:1"); !errors.Is(err, os.ErrNotExist) || errors.Is(err, image.ErrNotFound) {
		t.Errorf("an image that has no unpacked layers: %v", err)
	}
	for _, name := range []string{"changed", "copy:1"} {
		img, err := s.Ready(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, img, "umoci's\n")
		if err := remove(s, name); err != nil {
			t.Fatal(err)
		}
	}
	if problems, err := s.Check(t.Context(), image.CheckOptions{}); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
