package image_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/image"
)

func TestOpenMakesAnEmptyLayoutThatNobodyElseCanEnter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "store")
	s, err := image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("list: %v, %v", list, err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "oci-layout")); err != nil || !strings.Contains(string(raw), `"imageLayoutVersion": "1.0.0"`) {
		t.Errorf("oci-layout: %s, %v", raw, err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// CVE-2021-41103: set-user-id programs of images, within reach of any user.
func TestOpenNarrowsWhatIsTooWide(t *testing.T) {
	dir := t.TempDir()
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "layers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "layers"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("layers: %v, %v", info.Mode(), err)
	}
}

// A store removes what it does not know: not in the folder of something else.
func TestOpenLeavesAFolderOfSomethingElseAlone(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "tmp", "precious")
	if err := os.MkdirAll(precious, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := image.Open(dir)
	if err == nil || hint.Of(err) != "choose an empty folder, or one that does not exist yet" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder now has %v, %v", entries, err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0.0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(dir); err == nil || !strings.HasSuffix(err.Error(), `"oci-layout": version "2.0.0", want "1.0.0"`) {
		t.Error(err)
	}
}

func TestAReadOnlyFolderIsAnErrorWithAHint(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	if _, err := image.Open(dir); err != nil {
		t.Fatal(err)
	}
	var full, empty error
	onReadOnlyMount(t, dir, func() {
		_, full = image.Open(dir)
		_, empty = image.Open(filepath.Join(dir, "new"))
	})
	for _, err := range []error{full, empty} {
		if !errors.Is(err, unix.EROFS) || !strings.HasPrefix(err.Error(), `open image store "`+dir) ||
			hint.Of(err) != "the file system is mounted read-only; choose a folder on a writable one" {
			t.Errorf("got %v, hint %q", err, hint.Of(err))
		}
	}
}

// onReadOnlyMount runs f where dir is mounted read-only: on a thread with a
// mount namespace of its own, which ends with the thread.
func onReadOnlyMount(t *testing.T, dir string, f func()) {
	t.Helper()
	var err error
	onOwnThread(func() {
		err = errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(dir, dir, "", unix.MS_BIND, ""),
			unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
		)
		if err == nil {
			f()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// onOwnThread runs f on a thread that ends thereafter: the goroutine does not
// unlock it. The first thread of a process never ends, so it is passed over;
// being locked, it is not chosen a second time.
func onOwnThread(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			onOwnThread(f)
			return
		}
		f()
	}()
	<-done
}

// CVE-2024-3727: a digest is a string from a registry until it is validated.
func TestADigestThatIsAPathIsRefused(t *testing.T) {
	s, in, _ := open(t)
	for _, d := range []digest.Digest{
		"sha256:../../../../etc/passwd", "../blobs:00", "", "sha256:", "sha256:ABC", "md5:d41d8cd98f00b204e9800998ecf8427e",
		digest.Digest("sha256:" + strings.Repeat("a", 63) + "/"), digest.Digest("sha256:" + strings.Repeat("A", 64)),
	} {
		if _, err := s.ReadJSON(ocispec.Descriptor{Digest: d}); err == nil || !strings.HasPrefix(err.Error(), "digest ") {
			t.Errorf("read %q: %v", d, err)
		}
		if _, err := in.Blob(t.Context(), ocispec.Descriptor{Digest: d}, nil); err == nil {
			t.Errorf("wrote %q", d)
		}
		if _, _, err := in.Unpack(t.Context(), image.Layer{ChainID: d}); err == nil {
			t.Errorf("unpacked %q", d)
		}
	}
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	s, _, _ := open(t)
	_, err := s.Find("alpine")
	if !errors.Is(err, image.ErrNotFound) || err.Error() != `image "alpine": no such image in the store` {
		t.Error(err)
	}
	if err := remove(s, "alpine"); !errors.Is(err, image.ErrNotFound) {
		t.Error(err)
	}
}

// remove removes an image by name.
func remove(s *image.Store, ref string) error {
	_, err := s.Remove(context.Background(), ref, nil)
	return err
}

// What lies on the disk, with its permissions: a golden file. What is named by a digest
// shows its first digits.
func TestTheLayoutOnDisk(t *testing.T) {
	testkit.HostUnchanged(t)
	_, in, dir := open(t)
	twoImages(t, in)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(name, "locks/") {
			return nil // one for each blob and layer
		}
		if parts := strings.Split(name, "/"); len(parts) > 2 && len(parts[2]) == 64 {
			parts[2] = parts[2][:12] + "…"
			name = strings.Join(parts, "/")
		}
		fmt.Fprintf(&said, "%v  %s\n", info.Mode(), name)
		if !d.IsDir() && (name == "index.json" || name == "oci-layout" || strings.HasPrefix(name, "blobs/") && info.Size() < 1000) {
			said.WriteString(readFile(t, path) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, said.String(), "layout.golden")
}
