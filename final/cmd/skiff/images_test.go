package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
)

// The commands about images are chapter 5's, and tested there; here is what skiff adds.

// ok runs skiff, which must succeed, and returns its output.
func (m *machine) ok(args ...string) string {
	m.Helper()
	got := m.do(args...)
	if got.status != 0 {
		m.Fatalf("skiff %s: status %d\n%s%s", strings.Join(args, " "), got.status, got.out, got.err)
	}
	return got.out
}

func TestImagesGoIntoAnArchiveAndComeBack(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	m.ok("tag", m.image, "box")
	archive := filepath.Join(t.TempDir(), "box.tar")
	m.ok("save", "-o", archive, "box")
	id := m.ok("inspect", "-f", "{{.Id}}", "box")
	m.root = t.TempDir()
	if said := m.ok("load", "-i", archive); said != "Loaded image: box:latest\n" {
		t.Errorf("load says %q", said)
	}
	if again := m.ok("inspect", "-f", "{{.Id}}", "box"); again != id {
		t.Errorf("the id was %s and is %s", id, again)
	}
	m.image = "box"
	if out := m.run([]string{"--network", "none"}, "echo", "hello"); out != "hello\n" {
		t.Errorf("%q", out)
	}
}

// The store is an image layout: skopeo writes to it, and what it has written runs.
func TestAnImageThatSkopeoPutIntoTheStore(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "skopeo")
	m := newMachine(t).pulled()
	archive := filepath.Join(t.TempDir(), "box.tar")
	m.ok("save", "-o", archive, m.image)
	m.ok("rmi", m.image)
	tool(m, "skopeo", "copy", "--quiet", "oci-archive:"+archive, "oci:"+m.root+"/images:docker.io/library/other:1")
	m.disturb.Store(refuse)
	m.image = "other:1"
	if out := m.run([]string{"--network", "none"}, "echo", "hello"); out != "hello\n" {
		t.Errorf("%q", out)
	}
}

// What is in use says so; with --force its name goes, and its files stay until the
// container has ended.
func TestAnImageInUse(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	other := m.push("other:1", image(t, assemble.Options{Config: ocispec.ImageConfig{Cmd: []string{"other"}}}))
	m.ok("pull", other)
	first := m.start("ready", "run", "--name", "box", "--network", "none", m.image, "sh", "-c", "echo ready; sleep 1000; ls /bin/ls")
	m.ok("tag", m.image, "second-name")
	m.ok("rmi", "second-name") // not the last one
	got := m.do("rmi", m.image)
	want := "skiff: remove image \"" + m.image + "\": it is in use by container box\n" +
		"hint: end the container, or remove the name with --force: the files then go when the container has ended\n"
	if got.status != 125 || got.err != want {
		t.Errorf("status %d: %s", got.status, got.err)
	}
	m.ok("rmi", "--force", m.image)
	m.ok("rmi", other)
	m.ok("gc")
	if out := m.ok("fsck"); out != "every file is what its name says\n" {
		t.Error(out)
	}
	layers := func() int {
		found, err := filepath.Glob(filepath.Join(m.root, "images/layers/sha256/*"))
		m.must(err)
		return len(found)
	}
	if n := layers(); n != 2 {
		t.Errorf("while the container runs there are %d layers, want its 2", n)
	}
	first.signal(15)
	first.end()
	m.ok("gc")
	if n := layers(); n != 0 {
		t.Errorf("when it has ended there are %d layers", n)
	}
}

func TestAnImageThatIsNotWholeIsPulledAgain(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t).pulled()
	blobs, err := filepath.Glob(filepath.Join(m.root, "images/blobs/sha256/*"))
	m.must(err)
	for _, blob := range blobs {
		m.must(os.WriteFile(blob, []byte("rotten"), 0o600))
	}
	if got := m.do("fsck"); got.status != 125 || strings.Count(got.out, ": damaged: ") != len(blobs) {
		t.Errorf("fsck: %+v", got)
	}
	m.ok("fsck", "--repair")
	m.ok("fsck")
	if out := m.run([]string{"--network", "none"}, "echo", "hello"); out != "hello\n" {
		t.Errorf("%q", out)
	}
}

func TestEntrypointOfTheCaller(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	m.image = m.push("entry:1", image(t, assemble.Options{Config: ocispec.ImageConfig{
		Entrypoint: []string{"echo", "image"}, Cmd: []string{"command"}, Env: []string{"PATH=/bin"},
	}}))
	m.pulled()
	for want, c := range map[string][2]string{
		"image command\n": {},
		"image own\n":     {"", "own"},
		"own\n":           {"--entrypoint=echo", "own"},
		"\n":              {"--entrypoint=echo", ""},
	} {
		flags, command := []string{"--network", "none"}, []string{}
		if c[0] != "" {
			flags = append(flags, c[0])
		}
		if c[1] != "" {
			command = append(command, c[1])
		}
		if out := m.run(flags, command...); out != want {
			t.Errorf("%q: got %q, want %q", c, out, want)
		}
	}
	if got := m.do("run", "--entrypoint", "", m.image); got.status != 125 || !strings.Contains(got.err, "it names no command") {
		t.Errorf("no entrypoint, no command: %+v", got)
	}
}

// Below a read-only root the volumes of the image stay writable, with what the image
// has there; one that a link would lead out of the image (CVE-2022-23648) is refused.
func TestVolumesBelowAReadOnlyRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	with := func(name string, volumes ...string) {
		config := ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Volumes: map[string]struct{}{}}
		for _, v := range volumes {
			config.Volumes[v] = struct{}{}
		}
		img, err := assemble.Image([]assemble.Layer{assemble.Files(
			assemble.Regular("bin/busybox", readFile(t, "/bin/busybox"), 0o755),
			assemble.Symlink("bin/sh", "busybox"),
			assemble.Regular("data/old", "old\n", 0o644),
			assemble.Symlink("out", "/etc"), assemble.Symlink("up", "../../../.."),
		)}, assemble.Options{Config: config})
		m.must(err)
		m.image = m.push(name, img)
		m.pulled()
	}
	with("data:1", "/data/", "/new/deep")
	const script = `busybox cat /data/old; echo hello >/data/new && echo hello >/new/deep/file && busybox cat /data/new; echo x >/file`
	flags := []string{"run", "--read-only", "--network", "none"}
	got := m.do(append(flags, m.image, "sh", "-c", script)...)
	if got.out != "old\nhello\n" || got.status != 1 || !strings.Contains(got.err, "Read-only file system") {
		t.Errorf("%+v", got)
	}
	own := t.TempDir()
	m.do(append(flags, "--volume", own+":/data", m.image, "sh", "-c", "echo mine >/data/file")...)
	if text := readFile(t, filepath.Join(own, "file")); text != "mine\n" {
		t.Errorf("the caller's volume has %q", text)
	}
	for _, v := range []string{"/out", "/up/etc", "/out/cron.d"} {
		with("link:1", v)
		got := m.do(append(flags, m.image, "sh", "-c", "true")...)
		if got.status != 125 || !strings.Contains(got.err, `volume "`+v+`": a symbolic link leads there`) {
			t.Errorf("%s: %+v", v, got)
		}
	}
	for _, v := range []string{"/", "data", "/.."} {
		with("bad:1", v)
		if got := m.do(append(flags, m.image, "sh", "-c", "true")...); got.status != 125 || !strings.Contains(got.err, "want an absolute path") {
			t.Errorf("%s: %+v", v, got)
		}
	}
	m.wantNothing()
}

// Labels decide nothing (CVE-2026-53488), and a stop signal has to be one.
func TestWhatAnImageSaysAboutItself(t *testing.T) {
	testkit.HostUnchanged(t)
	m := newMachine(t)
	config := plain
	config.Labels = map[string]string{"skiff.example/image": "sha256:" + strings.Repeat("0", 64), "run.oci.hooks": "/bin/evil"}
	config.StopSignal = "SIGRTMIN+3"
	m.image = m.push("labels:1", image(t, assemble.Options{Config: config}))
	m.pulled()
	first := m.start("ready", "run", "--name", "box", "--network", "none", m.image, "sh", "-c", "echo ready; exec sleep 1000")
	state := readFile(t, filepath.Join(m.state, "containers/box/state.json"))
	annotations := regexp.MustCompile(`(?s)"annotations": \{.*?\}`).FindString(state)
	digest := strings.TrimSpace(m.ok("images", "--format", "{{.Digest}}"))
	if !strings.Contains(annotations, digest) || !strings.Contains(annotations, "SIGRTMIN+3") || strings.Contains(state, "run.oci.hooks") {
		t.Errorf("the state says %s", state)
	}
	first.signal(15)
	first.end()
	config.StopSignal = "SIGNOTHING"
	m.image = m.push("labels:2", image(t, assemble.Options{Config: config}))
	if got := m.do("run", m.image); got.status != 125 || !strings.Contains(got.err, `stop signal "SIGNOTHING": no such signal`) {
		t.Errorf("%+v", got)
	}
}
