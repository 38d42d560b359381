package demoimage_test

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage05-images/demoimage"
)

func build(t *testing.T) v1.Image {
	t.Helper()
	img, err := demoimage.Build()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTheImageIsValidAndHasThreeLayers(t *testing.T) {
	img := build(t)
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	if layers, err := img.Layers(); err != nil || len(layers) != 3 {
		t.Errorf("%d layers, %v; want 3", len(layers), err)
	}
}

func TestTheImageIsTheSameEachTime(t *testing.T) {
	first, err := build(t).Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := build(t).Digest(); err != nil || first != second {
		t.Errorf("digests %s and %s, %v", first, second, err)
	}
}

// Each layer is unpacked above the others; a file is looked for from the top
// down, as overlayfs does.
func TestTheLastLayerChangesTheFirst(t *testing.T) {
	testkit.HostUnchanged(t)
	layers := unpack(t, build(t))
	for i, want := range []string{demoimage.FirstGreeting, "", demoimage.LastGreeting} {
		if got, err := os.ReadFile(filepath.Join(layers[i], demoimage.Motd)); string(got) != want {
			t.Errorf("layer %d: the greeting is %q, %v; want %q", i+1, got, err, want)
		}
	}
	if info, err := os.Lstat(filepath.Join(layers[0], demoimage.Secret)); err != nil || !info.Mode().IsRegular() {
		t.Errorf("layer 1: the secret is not a file: %v, %v", info, err)
	}
	if info, err := os.Lstat(filepath.Join(layers[2], demoimage.Secret)); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("layer 3: the secret is not hidden by a whiteout: %v, %v", info, err)
	}
	if err := binfmt.Check(layers[0], "sh"); err != nil {
		t.Errorf("layer 1 is no root for a shell: %v", err)
	}
}

// unpack unpacks the layers of an image, and returns their folders, the lowest
// first.
func unpack(t *testing.T, img v1.Image) []string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var dirs, lower []string
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := layer.Apply(dir, content, layer.Options{Lower: lower}); err != nil {
			t.Fatal(err)
		}
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
		dirs, lower = append(dirs, dir), append([]string{dir}, lower...)
	}
	return dirs
}
