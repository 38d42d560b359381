package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
)

// The commands about images, as people type them.

// demoArchive is a docker archive, written by go-containerregistry, of an image of
// two layers. What it says about itself, it says with the terminal's control codes.
func demoArchive(t *testing.T) string {
	t.Helper()
	img, err := assemble.Image([]assemble.Layer{
		assemble.Files(assemble.Regular("etc/motd", "hello\n", 0o644)), assemble.Files(assemble.Whiteout("etc/motd")),
	}, assemble.Options{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Config: ocispec.ImageConfig{
			User: "guest:7", Entrypoint: []string{"/bin/server", "--port", "80"}, Cmd: []string{"--verbose"}, Env: []string{"PATH=/bin", "COLOUR=\x1b[31mred"},
			WorkingDir: "/srv", Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"80/tcp": {}}, StopSignal: "SIGQUIT",
			Labels: map[string]string{"vendor": "nobody\x07\x1b]0;title"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	day := func(n int) v1.Time { return v1.Time{Time: time.Date(2000, 1, n, 0, 0, 0, 0, time.UTC)} }
	file.Created = day(3)
	file.History = []v1.History{
		{Created: day(1), CreatedBy: "COPY motd /etc/motd"},
		{Created: day(2), CreatedBy: "ENV COLOUR=\x1b[31mred", EmptyLayer: true},
		{Created: day(3), CreatedBy: "RUN rm /etc/motd && echo a very long line that nobody reads to its end", Comment: "clean"},
	}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("demo:1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "demo.tar")
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		t.Fatal(err)
	}
	return path
}

// A transcript is what a reader sees who types command lines.
type transcript struct {
	*testing.T
	said strings.Builder
	root string
}

// types runs `stage05 words…` with the store of this transcript.
func (tr *transcript) types(words ...string) {
	tr.Helper()
	cmd := testkit.Command(tr.T, append([]string{words[0], "--root", tr.root}, words[1:]...)...)
	tr.run("stage05 "+strings.Join(words, " "), cmd)
}

func (tr *transcript) run(line string, cmd *exec.Cmd) {
	tr.Helper()
	out, err := cmd.CombinedOutput()
	fmt.Fprintf(&tr.said, "$ %s\n%s", line, out)
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		fmt.Fprintf(&tr.said, "exit status %d\n", failed.ExitCode())
	} else if err != nil {
		tr.Fatal(err)
	}
}

// golden compares; how long ago something was is not the same every day.
func (tr *transcript) golden(file string, replace ...string) {
	tr.Helper()
	text := strings.NewReplacer(append(replace, tr.root, "ROOT")...).Replace(tr.said.String())
	text = regexp.MustCompile(`\d\d years ago`).ReplaceAllString(text, "NN years ago")
	testkit.Golden(tr.T, text, file)
}

func TestTheCommandsAboutImages(t *testing.T) {
	testkit.HostUnchanged(t)
	archive := demoArchive(t)
	tr := &transcript{T: t, root: filepath.Join(t.TempDir(), "root")}
	saved := filepath.Join(t.TempDir(), "saved.tar")
	tr.types("load", "--input", archive)
	tr.types("images")
	tr.types("images", "--digests", "--no-trunc")
	tr.types("images", "-q")
	tr.types("inspect", "demo:1")
	tr.types("inspect", "--pretty", "demo:1")
	tr.types("inspect", "--format", "{{.RepoTags}} {{.Config.User}} {{json .Config.Cmd}}", "demo:1")
	tr.types("history", "demo:1")
	tr.types("history", "-q", "--no-trunc", "demo:1")
	tr.types("tag", "demo:1", "reg.example/team/demo")
	tr.types("images", "--format", "{{.Reference}}")
	tr.types("images", "--json")
	tr.types("save", "-o", saved, "demo:1", "reg.example/team/demo")
	tr.types("rmi", "demo:1")
	tr.types("rmi", "reg.example/team/demo")
	tr.types("images")
	tr.types("load", "--quiet", "--input", saved)
	tr.types("images")
	tr.types("fsck")
	tr.types("gc")
	if strings.ContainsAny(tr.said.String(), "\x1b\x07") {
		t.Error("the terminal gets control codes of a stranger's")
	}
	tr.golden("images.golden", archive, "demo.tar", saved, "saved.tar")
}

func TestMistakesAboutImages(t *testing.T) {
	testkit.HostUnchanged(t)
	archive := demoArchive(t)
	tr := &transcript{T: t, root: filepath.Join(t.TempDir(), "root")}
	tr.types("load", "-i", archive)
	tr.said.Reset()
	notThere := filepath.Join(t.TempDir(), "not-there")
	for _, words := range [][]string{
		{"inspect"},
		{"inspect", "nothing"},
		{"inspect", "demo:1", "--pretty"},
		{"inspect", "-f", "{{.Nothing}}", "demo:1"},
		{"inspect", "-f", "{{", "demo:1"},
		{"history", "nothing"},
		{"tag", "demo:1"},
		{"tag", "nothing", "name"},
		{"tag", "demo:1", "Name"},
		{"tag", "demo:1", "a@sha256:" + strings.Repeat("0", 64)},
		{"rmi", "nothing"},
		{"rmi", "../etc"},
		{"save", "demo:1", "-o", notThere},
		{"save", "-o", notThere + "/x", "demo:1"},
		{"save", "-o", notThere, "nothing"},
		{"save", "--format", "oci-dir", "demo:1"},
		{"load", "-i", notThere},
		{"load", "--platform", "linux", "-i", archive},
		{"load", "-i", "/dev/null"},
		{"pull", "sha256:" + strings.Repeat("0", 64)},
		{"fsck", "all"},
	} {
		tr.types(words...)
	}
	if _, err := os.Stat(notThere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an archive that is not whole is left: %v", err)
	}
	blobs, err := filepath.Glob(filepath.Join(tr.root, "images/blobs/sha256/*"))
	if err != nil || len(blobs) != 4 {
		t.Fatal(blobs, err)
	}
	if err := os.Truncate(blobs[0], 1); err != nil {
		t.Fatal(err)
	}
	tr.types("fsck")
	tr.types("fsck", "--repair")
	tr.types("fsck")
	tr.golden("mistakes.golden", archive, "demo.tar", notThere, "not-there")
}

func TestArchivesThroughPipes(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "script", "cmp", "gzip")
	archive := demoArchive(t)
	program, root, other := testkit.Build(t, "."), t.TempDir(), t.TempDir()
	script := `"$0" load --root "$2" <"$1" && "$0" save --root "$2" demo:1 | gzip | "$0" load --root "$3" && "$0" save --root "$3" demo:1 | cmp - "$4"`
	saved := filepath.Join(t.TempDir(), "saved")
	testkit.Output(t, exec.Command(program, "load", "--root", root, "-i", archive))
	testkit.Output(t, exec.Command(program, "save", "--root", root, "-o", saved, "demo:1"))
	out := testkit.Output(t, exec.Command("sh", "-c", script, program, archive, root, other, saved))
	if out != "Loaded image: demo:1\nLoaded image: demo:1\n" {
		t.Errorf("%s", out)
	}
	// Nobody wants to see an archive.
	terminal := exec.Command("script", "-qec", program+" save --root "+root+" demo:1", "/dev/null")
	terminal.Stdin = strings.NewReader("")
	shown, _ := terminal.CombinedOutput()
	if !strings.Contains(string(shown), "hint: write it to a file: --output FILE") || len(shown) > 1000 {
		t.Errorf("on a terminal: %.300q", shown)
	}
}
