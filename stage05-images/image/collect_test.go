package image_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// TestMain lets the test program be a writer that waits to be killed:
// image.test write STORE.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "write" {
		os.Exit(writeMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

func writeMain(dir string) int {
	s, err := image.Open(dir)
	if err == nil {
		_, err = s.Ingest(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("writing")
	select {}
}

// Two images with a layer in common.
func twoImages(t *testing.T, in *image.Ingest) (one, two *image.Image) {
	t.Helper()
	common := tarOf(t, assemble.Regular("common", "1", 0o644))
	one = store(t, in, "demo:1", common, tarOf(t, assemble.Regular("one", "1", 0o644)))
	two = store(t, in, "demo:2", common, tarOf(t, assemble.Regular("two", "2", 0o644)))
	return one, two
}

// want checks what the store has.
func want(t *testing.T, dir string, blobs, layers int) {
	t.Helper()
	if got := len(files(t, dir, "blobs/*/*")); got != blobs {
		t.Errorf("%d blobs, want %d", got, blobs)
	}
	if got := len(files(t, dir, "layers/*/*")); got != layers {
		t.Errorf("%d layers, want %d", got, layers)
	}
}

func TestCollectRemovesWhatNoImageNeeds(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	_, two := twoImages(t, in)
	want(t, dir, 7, 3) // 3 layers, 2 configurations, 2 manifests
	if err := remove(s, "demo:1"); err != nil {
		t.Fatal(err)
	}
	// There is a writer, who may be about to use them.
	got, err := s.Collect()
	if err != nil || got != (image.Collected{Writers: 1}) {
		t.Errorf("while there is a writer: %+v, %v", got, err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	got, err = s.Collect()
	if err != nil || got != (image.Collected{Blobs: 3, Layers: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	want(t, dir, 4, 2)
	found, err := s.Find("demo:2")
	if err != nil || strings.Join(found.Layers, ",") != strings.Join(two.Layers, ",") {
		t.Errorf("the other image: %+v, %v", found, err)
	}
	if err := remove(s, "demo:2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(); err != nil {
		t.Error(err)
	}
	want(t, dir, 0, 0)
}

func TestCollectKeepsWhatContainersStillUse(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	one, _ := twoImages(t, in)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := remove(s, "demo:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(one.Digest); err != nil {
		t.Error(err)
	}
	want(t, dir, 7, 3)
}

// An image that cannot be read could need anything: nothing is removed.
func TestCollectRefusesADamagedImage(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	one, _ := twoImages(t, in)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "blobs/sha256", one.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	_, err := s.Collect()
	if err == nil || !strings.Contains(err.Error(), "demo:1") || hint.Of(err) != "remove that image, or pull it again" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	want(t, dir, 6, 3)
}

func TestAKilledWriterIsSweptUp(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	writer := exec.Command(os.Args[0], "write", dir)
	said, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(said, new(string)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Collect(); err != nil || got.Writers != 1 || got.Abandoned != 0 {
		t.Errorf("while it lives: %+v, %v", got, err)
	}
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Wait() // it was killed
	if got, err := s.Collect(); err != nil || got.Writers != 0 || got.Abandoned != 1 {
		t.Errorf("when it is dead: %+v, %v", got, err)
	}
}

// What no image names may not have reached the disk before a power cut.
func TestAfterARebootOnlyWhatImagesNeedIsTrusted(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	store(t, in, "demo:1", tarOf(t, assemble.Regular("one", "1", 0o644)))
	put(t, in, "", []byte("of a pull that was not finished"))
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	want(t, dir, 4, 1)
	if err := os.WriteFile(filepath.Join(dir, "boot"), []byte("another boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	want(t, dir, 3, 1)
}

func TestAfterARebootADamagedImageDoesNotCloseTheStore(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	img := store(t, in, "demo:1", tarOf(t, assemble.Regular("one", "1", 0o644)))
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{"boot": "another boot\n", "blobs/sha256/" + img.Digest.Encoded(): "rotten"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want(t, dir, 3, 1)
	if err := remove(s, "demo:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(); err != nil {
		t.Error(err)
	}
	want(t, dir, 0, 0)
}

func TestARepeatedTagReplacesTheOld(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	store(t, in, "demo", tarOf(t, assemble.Regular("one", "1", 0o644)))
	second := store(t, in, "demo", tarOf(t, assemble.Regular("two", "2", 0o644)))
	list, err := s.List()
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if e := list[0]; e.Reference != "docker.io/library/demo:latest" || e.Digest != second.Digest || e.Platform.Architecture != "amd64" {
		t.Errorf("%+v", e)
	}
}

func TestALayerThatIsGoneIsNoticed(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	img := store(t, in, "demo", tarOf(t, assemble.Regular("one", "1", 0o644)))
	if err := os.RemoveAll(img.Layers[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("demo"); err == nil || hint.Of(err) != "the store is damaged; pull the image again" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
}
