package assemble_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage05-images/assemble"
)

// build builds an image of two layers.
func build(t *testing.T, c assemble.Compression) v1.Image {
	t.Helper()
	img, err := assemble.Image([]assemble.Layer{
		assemble.Files(
			assemble.Directory("etc"),
			assemble.Regular("etc/motd", strings.Repeat("welcome\n", 10_000), 0o644),
			assemble.Symlink("bin", "usr/bin"),
		),
		assemble.Files(assemble.Whiteout("etc/motd")),
	}, assemble.Options{
		Config:      ocispec.ImageConfig{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}, WorkingDir: "/etc"},
		Compression: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestAnImageIsValid(t *testing.T) {
	// go-containerregistry computes each digest, diff_id and size again; of
	// compressions it knows gzip.
	if err := validate.Image(build(t, assemble.Gzip)); err != nil {
		t.Error(err)
	}
}

func TestALayerHashesToItsNames(t *testing.T) {
	for name, c := range map[string]assemble.Compression{"gzip": assemble.Gzip, "zstd": assemble.Zstd, "none": assemble.None} {
		t.Run(name, func(t *testing.T) {
			layers, err := build(t, c).Layers()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range layers {
				checkHash(t, l.Digest, l.Compressed)
				checkHash(t, l.DiffID, l.Uncompressed)
			}
		})
	}
}

// checkHash compares a hash with that of the content that it is for.
func checkHash(t *testing.T, hash func() (v1.Hash, error), content func() (io.ReadCloser, error)) {
	t.Helper()
	want, err := hash()
	if err != nil {
		t.Fatal(err)
	}
	r, err := content()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, _, err := v1.SHA256(r)
	if err != nil || got != want {
		t.Errorf("content hashes to %v (%v), named %v", got, err, want)
	}
}

func TestAnImageCanBeMadeAgainBitByBit(t *testing.T) {
	for name, c := range map[string]assemble.Compression{"gzip": assemble.Gzip, "zstd": assemble.Zstd} {
		t.Run(name, func(t *testing.T) {
			first, err := build(t, c).Digest()
			if err != nil {
				t.Fatal(err)
			}
			second, err := build(t, c).Digest()
			if err != nil {
				t.Fatal(err)
			}
			if first != second {
				t.Errorf("%s and %s", first, second)
			}
		})
	}
}

func TestTheConfigurationSaysWhatTheOptionsSay(t *testing.T) {
	config, err := build(t, assemble.Gzip).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config; got.Cmd[0] != "/bin/sh" || got.Env[0] != "PATH=/bin" || got.WorkingDir != "/etc" {
		t.Errorf("config is %+v", got)
	}
	if config.OS != "linux" || config.Architecture == "" || len(config.RootFS.DiffIDs) != 2 {
		t.Errorf("platform %s/%s, %d diff_ids", config.OS, config.Architecture, len(config.RootFS.DiffIDs))
	}
}

func TestALayerThatCannotBeWrittenIsAnError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := assemble.Image([]assemble.Layer{func(io.Writer) error { return broken }}, assemble.Options{})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "layer 1") {
		t.Errorf("got %v", err)
	}
}
