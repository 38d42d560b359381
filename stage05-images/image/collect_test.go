package image_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// TestMain lets the test program be a writer that waits to be killed: image.test
// write STORE, or image.test load STORE ARCHIVE…, which loads one after the other.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "write":
		os.Exit(writeMain(os.Args[2]))
	case len(os.Args) > 3 && os.Args[1] == "load":
		fmt.Fprintln(os.Stderr, loadMain(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func loadMain(dir string, archives []string) error {
	s, err := image.Open(dir)
	if err != nil {
		return err
	}
	for {
		f, err := os.Open(archives[rand.IntN(len(archives))])
		if err != nil {
			return err
		}
		if _, err := s.Load(context.Background(), f, ocispec.Platform{}); err != nil {
			return err
		}
		fmt.Println("loaded")
		f.Close()
	}
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

// Four processes load images that share layers, and are killed in the middle; others
// remove and collect and run all the while. Whoever holds a lease finds all of what he
// has found, and in the end the store is whole: nothing that has a name lacks anything.
func TestCollectingWhileOthersWriteAndAreKilled(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	var archives []string
	layers := [][]byte{}
	for i := range 4 {
		layers = append(layers, tarOf(t, assemble.Regular("text", strings.Repeat(fmt.Sprint(i), 100_000), 0o644), assemble.Directory(fmt.Sprint("dir", i))))
		name := fmt.Sprint("demo:", i)
		store(t, in, name, layers...)
		archives = append(archives, filepath.Join(t.TempDir(), "archive"))
		write(t, archives[i], string(saved(t, s, name)))
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var loaded, collected, ran atomic.Int32
	forever := func(do func() error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		forever(func() error {
			writer := exec.Command(os.Args[0], append([]string{"load", dir}, archives...)...)
			var said, failed strings.Builder
			writer.Stdout, writer.Stderr = &said, &failed
			if err := writer.Start(); err != nil {
				return err
			}
			time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
			err := writer.Process.Kill()
			_ = writer.Wait() // it was killed
			loaded.Add(int32(strings.Count(said.String(), "loaded")))
			if failed.Len() > 0 {
				err = errors.New(failed.String())
			}
			return err
		})
	}
	forever(func() error {
		time.Sleep(time.Millisecond)
		if err := remove(s, fmt.Sprint("demo:", rand.IntN(4))); err != nil && !errors.Is(err, image.ErrNotFound) {
			return err
		}
		done, err := s.Collect()
		collected.Add(int32(done.Blobs + done.Layers + done.Abandoned))
		return err
	})
	forever(func() error {
		release, err := s.Hold(ctx)
		if err != nil {
			return err
		}
		defer release()
		img, err := s.Find(fmt.Sprint("demo:", rand.IntN(4)))
		if errors.Is(err, image.ErrNotFound) {
			return nil
		}
		for i := 0; err == nil && i < len(img.Layers); i++ {
			time.Sleep(time.Millisecond)
			_, err = os.ReadFile(filepath.Join(img.Layers[i], "text"))
			ran.Add(1)
		}
		return err
	})
	all.Wait()
	t.Logf("%d loaded, %d collected, %d read", loaded.Load(), collected.Load(), ran.Load())
	if loaded.Load() == 0 || collected.Load() == 0 || ran.Load() == 0 {
		t.Error("nothing happened")
	}
	if _, err := s.Collect(); err != nil {
		t.Error(err)
	}
	if found := checked(t, s, image.CheckOptions{}); found != "" {
		t.Error(found)
	}
}

// A lease keeps everything, as a writer does, and ends with its process.
func TestALeaseKeepsWhatIsFound(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	twoImages(t, in)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	var releases []func()
	for range 2 {
		release, err := s.Hold(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	if err := remove(s, "demo:1"); err != nil {
		t.Fatal(err)
	}
	for _, release := range releases {
		if got, err := s.Collect(); err != nil || got != (image.Collected{Held: true}) {
			t.Errorf("%+v, %v", got, err)
		}
		release()
	}
	want(t, dir, 7, 3)
	if _, err := s.Collect(); err != nil {
		t.Error(err)
	}
	want(t, dir, 4, 2)
}
