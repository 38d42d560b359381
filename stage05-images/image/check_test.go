package image_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// rich is a layer with something of each kind in it.
func rich(t *testing.T) []byte {
	t.Helper()
	owned := assemble.Regular("dir/owned", "owned\n", 0o6755)
	owned.Uid, owned.Gid = 12345, 54321
	attribute := assemble.Regular("dir/attribute", "attribute\n", 0o644)
	attribute.PAXRecords = map[string]string{"SCHILY.xattr.user.color": "green"}
	device := assemble.Regular("dir/device", "", 0o600)
	device.Typeflag, device.Devmajor, device.Devminor = '3', 1, 3
	return tarOf(t, assemble.Directory("dir"), owned, attribute, device, assemble.Symlink("dir/link", "owned"),
		assemble.Hardlink("dir/second", "dir/owned"), assemble.Regular("without/parent", "x", 0o644), assemble.Directory("empty"))
}

// checked is what Check finds, one line each.
func checked(t *testing.T, s *image.Store, o image.CheckOptions) string {
	t.Helper()
	problems, err := s.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&said, "%s: %v", p.Where, p.Err)
		if p.Repaired {
			said.WriteString(" (repaired)")
		}
		said.WriteString("\n")
	}
	return said.String()
}

// damages are ways to damage a store with one image of two layers; dir is the store,
// lower and upper the unpacked layers.
var damages = []struct {
	name   string
	damage func(dir, lower, upper string) error
}{
	{"a blob has rotted", func(dir, _, _ string) error {
		return eachFile(dir+"/blobs/sha256/*", func(path string, size int64) error {
			if size < 2048 {
				return nil
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{'!'}, size/2)
			return errors.Join(err, f.Close())
		})
	}},
	{"a layer's blob is missing", func(dir, _, _ string) error {
		return eachFile(dir+"/blobs/sha256/*", func(path string, size int64) error {
			if size < 2048 {
				return nil
			}
			return os.Remove(path)
		})
	}},
	{"all blobs are empty", func(dir, _, _ string) error {
		return eachFile(dir+"/blobs/sha256/*", func(path string, _ int64) error { return os.Truncate(path, 0) })
	}},
	{"a file's content was changed", func(_, lower, _ string) error {
		old, err := os.Stat(lower + "/dir/owned")
		return errors.Join(err, os.WriteFile(lower+"/dir/owned", []byte("OWNED\n"), 0), os.Chmod(lower+"/dir/owned", old.Mode()),
			os.Chtimes(lower+"/dir/owned", old.ModTime(), old.ModTime()))
	}},
	{"a file's mode was changed", func(_, lower, _ string) error { return os.Chmod(lower+"/dir/owned", 0o755) }},
	{"a file's owner was changed", func(_, lower, _ string) error { return os.Lchown(lower+"/dir/link", 1, 1) }},
	{"a file's time was changed", func(_, lower, _ string) error {
		return os.Chtimes(lower+"/dir/attribute", time.Time{}, time.Unix(1, 0))
	}},
	{"a file is missing", func(_, lower, _ string) error { return os.Remove(lower + "/empty") }},
	{"a file is too much", func(_, lower, _ string) error { return os.WriteFile(lower+"/empty/more", nil, 0o644) }},
	{"a link leads elsewhere", func(_, lower, _ string) error { return relink(lower+"/dir/link", "/etc/passwd") }},
	{"a hard link was cut", func(_, lower, _ string) error {
		return errors.Join(os.Remove(lower+"/dir/second"), os.WriteFile(lower+"/dir/second", []byte("owned\n"), 0o644))
	}},
	{"another device", func(_, lower, _ string) error {
		return errors.Join(os.Remove(lower+"/dir/device"), unix.Mknod(lower+"/dir/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	}},
	{"an attribute was changed", func(_, lower, _ string) error {
		return unix.Setxattr(lower+"/dir/attribute", "user.color", []byte("red"), 0)
	}},
	{"a whiteout is missing", func(_, _, upper string) error { return os.Remove(upper + "/dir/attribute") }},
	{"an unpacked layer is missing", func(_, lower, _ string) error { return os.RemoveAll(lower) }},
	{"an unpacked layer is a file", func(_, _, upper string) error {
		return errors.Join(os.RemoveAll(upper), os.WriteFile(upper, nil, 0o600))
	}},
	{"stray files", func(dir, _, _ string) error {
		return errors.Join(os.WriteFile(dir+"/core", nil, 0o600), os.WriteFile(dir+"/blobs/sha256/note", nil, 0o600), os.Mkdir(dir+"/layers/sha256/..x", 0o700),
			os.Symlink("/etc/passwd", dir+"/blobs/sha256/"+strings.Repeat("0", 64)), os.MkdirAll(dir+"/blobs/md5/"+strings.Repeat("0", 32), 0o700))
	}},
	{"open to others", func(dir, _, _ string) error { return errors.Join(os.Chmod(dir, 0o711), os.Chmod(dir+"/layers", 0o755)) }},
}

func eachFile(pattern string, do func(path string, size int64) error) error {
	found, err := filepath.Glob(pattern)
	for _, path := range found {
		info, failed := os.Stat(path)
		if failed == nil {
			failed = do(path, info.Size())
		}
		err = errors.Join(err, failed)
	}
	return err
}

func relink(path, to string) error { return errors.Join(os.Remove(path), os.Symlink(to, path)) }

// Each damage is found. After a repair nothing is wrong any more, and the image is
// there and whole, or not there, and storing it again mends it.
func TestADamagedStoreIsFoundAndRepaired(t *testing.T) {
	testkit.HostUnchanged(t)
	var said strings.Builder
	for _, c := range damages {
		s, in, dir := open(t)
		layers := [][]byte{rich(t), tarOf(t, assemble.Whiteout("dir/attribute"), assemble.Regular("upper", "upper\n", 0o644))}
		img := store(t, in, "demo:1", layers...)
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if found := checked(t, s, image.CheckOptions{}); found != "" {
			t.Fatalf("before: %s", found)
		}
		if err := c.damage(dir, img.Layers[1], img.Layers[0]); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		found := checked(t, s, image.CheckOptions{})
		if found == "" {
			t.Errorf("%s: nothing was found", c.name)
		}
		repaired := checked(t, s, image.CheckOptions{Repair: true})
		if strings.ReplaceAll(repaired, " (repaired)", "") != found || strings.Count(repaired, " (repaired)") != strings.Count(repaired, "\n") {
			t.Errorf("%s: found\n%srepaired\n%s", c.name, found, repaired)
		}
		if left := checked(t, s, image.CheckOptions{}); left != "" {
			t.Errorf("%s: after the repair: %s", c.name, left)
		}
		fmt.Fprintf(&said, "# %s\n%s", c.name, found)
		if _, err := s.Find("demo:1"); err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Errorf("%s: after the repair: %v", c.name, err)
		} else if err != nil {
			fmt.Fprintln(&said, "the image is gone")
		}
		again, err := s.Ingest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		store(t, again, "demo:1", layers...)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if left := checked(t, s, image.CheckOptions{}); left != "" {
			t.Errorf("%s: stored again: %s", c.name, left)
		}
	}
	testkit.Golden(t, said.String(), "check.golden")
}

func TestTheIndexIsChecked(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	img := store(t, in, "demo:1", rich(t))
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	entry := func(name string, d digest.Digest, size int) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`, d, size, name)
	}
	size := len(readFile(t, filepath.Join(dir, "blobs/sha256", img.Digest.Encoded())))
	good := entry("docker.io/library/demo:1", img.Digest, size)
	write(t, filepath.Join(dir, "index.json"), index(good, good, entry("gone", someDigest, 7), entry("size", img.Digest, 7), entry("path", "sha256:../../x", 7)))
	found := checked(t, s, image.CheckOptions{Repair: true})
	for _, want := range []string{
		`image "docker.io/library/demo:1": it is in the index twice (repaired)`, `image "gone": `,
		fmt.Sprintf(`image "size": blob %s: size mismatch: %d bytes, and its descriptor says 7 (repaired)`, image.Short(img.Digest), size),
		`image "path": digest "sha256:../../x": invalid checksum digest length (repaired)`,
	} {
		if !strings.Contains(found, want) {
			t.Errorf("no %q in\n%s", want, found)
		}
	}
	if got := fmt.Sprint(names(t, s)); got != "[demo:1]" {
		t.Errorf("left: %s", got)
	}
	write(t, filepath.Join(dir, "index.json"), "rotten")
	if _, err := s.Check(t.Context(), image.CheckOptions{Repair: true}); err == nil || hint.Of(err) == "" {
		t.Errorf("an index that cannot be read: %v, hint %q", err, hint.Of(err))
	}
	want(t, dir, 3, 1) // nothing was removed
}

// Two images with the same configuration, and a blob of one of them that is not what
// it says: the folder is right, made of the other blob.
func TestABlobThatUnpacksToSomethingElse(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	tar := rich(t)
	store(t, in, "demo:1", tar)
	details, err := s.Inspect("demo:1")
	if err != nil {
		t.Fatal(err)
	}
	m := details.Manifest
	m.Layers = []ocispec.Descriptor{put(t, in, ocispec.MediaTypeImageLayer, tarOf(t))}
	d := put(t, in, ocispec.MediaTypeImageManifest, marshal(t, m))
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, filepath.Join(dir, "index.json"))
	write(t, filepath.Join(dir, "index.json"), strings.Replace(text, `"manifests": [`, `"manifests": [`+
		described(d.MediaType, string(marshal(t, m)), `,"annotations":{"org.opencontainers.image.ref.name":"docker.io/library/bad:1"}`)+",", 1))
	if found := checked(t, s, image.CheckOptions{Repair: true}); !strings.Contains(found, "digest mismatch") || strings.Count(found, "\n") != 1 {
		t.Error(found)
	}
	if found := checked(t, s, image.CheckOptions{}); found != "" || fmt.Sprint(names(t, s)) != "[demo:1]" {
		t.Errorf("%s%q", found, names(t, s))
	}
}

// A repair removes things, so nobody else may be at work; what a container runs on
// stays, whatever is wrong with it.
func TestARepairIsAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	img := store(t, in, "demo:1", rich(t))
	if err := os.Remove(filepath.Join(img.Layers[0], "empty")); err != nil {
		t.Fatal(err)
	}
	busy := func(what string) {
		t.Helper()
		_, err := s.Check(t.Context(), image.CheckOptions{Repair: true})
		if err == nil || hint.Of(err) != "try again when no pull and no run is under way" {
			t.Errorf("%s: %v, hint %q", what, err, hint.Of(err))
		}
	}
	busy("a writer")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	busy("a lease")
	release()
	if found := checked(t, s, image.CheckOptions{Repair: true, Used: []digest.Digest{img.Digest}}); !strings.HasSuffix(found, "(a container runs on it: end that, and repair again)\n") {
		t.Error(found)
	}
	if found := checked(t, s, image.CheckOptions{Repair: true}); !strings.HasSuffix(found, " (repaired)\n") {
		t.Error(found)
	}
	if found := checked(t, s, image.CheckOptions{}); found != "" {
		t.Error(found)
	}
}
