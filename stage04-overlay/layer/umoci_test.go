package layer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// An image that umoci built, layer by layer, looks the same when umoci unpacks
// it, all layers into one directory, as when we unpack each layer by itself and
// the kernel merges them.
func TestAnImageThatUmociBuilt(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "umoci")
	dir := t.TempDir()
	image := dir + "/image"
	run(t, "umoci", "init", "--layout", image)
	run(t, "umoci", "new", "--image", image+":latest")
	run(t, "umoci", "unpack", "--image", image+":latest", dir+"/bundle")
	for _, change := range umociLayers {
		change(t, dir+"/bundle/rootfs/")
		run(t, "umoci", "repack", "--refresh-bundle", "--image", image+":latest", dir+"/bundle")
	}
	run(t, "umoci", "unpack", "--image", image+":latest", dir+"/theirs")

	layers := layersOf(t, image)
	if len(layers) != len(umociLayers) {
		t.Fatalf("the image has %d layers, want %d", len(layers), len(umociLayers))
	}
	s, err := overlay.Prepare(t.TempDir(), stack(t, layers...))
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), s.Steps)
		// umoci sets the times of the root directory from no layer.
		same(t, attributes(t, root)[1:], attributes(t, dir+"/theirs/rootfs")[1:])
	})
}

// umociLayers are what the layers of the image do.
var umociLayers = []func(t *testing.T, root string){
	func(t *testing.T, root string) {
		run(t, "cp", "-a", sample(t)+"/.", root)
		if err := errors.Join(
			os.MkdirAll(root+"usr/lib/old", 0o755), os.Symlink("usr/lib", root+"lib"),
			os.WriteFile(root+"usr/lib/old/so", []byte("so"), 0o644),
			os.WriteFile(root+"usr/lib/libc", []byte("libc"), 0o644),
		); err != nil {
			t.Fatal(err)
		}
	},
	func(t *testing.T, root string) {
		if err := errors.Join(
			os.Remove(root+"ping"),                                      // a file is deleted
			os.RemoveAll(root+"usr/lib/old"),                            // and a directory
			os.RemoveAll(root+"setgid"), os.Mkdir(root+"setgid", 0o700), // a directory is made anew
			os.RemoveAll(root+"d/e"), os.WriteFile(root+"d/e", nil, 0o600), // or as a file
			os.Remove(root+"fifo"), os.Mkdir(root+"fifo", 0o711), // or instead of one
			os.Link(root+"usr/lib/libc", root+"usr/lib/libm"),
			unix.Chmod(root+"secret", 0o4111),
			os.Chown(root+"d", 77, 78),
		); err != nil {
			t.Fatal(err)
		}
	},
	func(t *testing.T, root string) {
		if err := errors.Join(
			os.WriteFile(root+"ping", []byte("again"), 0o755),
			os.MkdirAll(root+"usr/lib/old/er", 0o755),
			os.Remove(root+"lib"), os.Mkdir(root+"lib", 0o755), // the link is a directory now
			os.WriteFile(root+"lib/x", []byte("x"), 0o644),
		); err != nil {
			t.Fatal(err)
		}
	},
}

// layersOf reads the layers of the only image in an OCI layout, the lowest
// first (image-spec image-layout.md, manifest.md).
func layersOf(t *testing.T, image string) (archives [][]byte) {
	t.Helper()
	type descriptor struct{ Digest string }
	var index struct{ Manifests []descriptor }
	var manifest struct{ Layers []descriptor }
	blob := func(d descriptor) string { return "/blobs/" + strings.Replace(d.Digest, ":", "/", 1) }
	read := func(name string) []byte {
		b, err := os.ReadFile(image + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := json.Unmarshal(read("/index.json"), &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("index.json: error %v, %d manifests", err, len(index.Manifests))
	}
	if err := json.Unmarshal(read(blob(index.Manifests[0])), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, l := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(read(blob(l))))
		if err != nil {
			t.Fatal(err)
		}
		archive, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, archive)
	}
	return archives
}

// What umoci makes of odd and hostile layers is what we make of them, where it
// accepts them at all.
func TestOddLayersAreUnpackedAsUmociDoes(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "umoci")
	for name, test := range mergeTests {
		t.Run(name, func(t *testing.T) { likeUmoci(t, archives(t, test.layers...), nil) })
	}
	for name, test := range inOrder {
		t.Run(name, func(t *testing.T) { likeUmoci(t, archives(t, test.layers...), nil) })
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "10,000 deep") {
				t.Skip("umoci takes half a minute for it")
			}
			// What attacks names as an error is refused, whatever umoci thinks of it.
			likeUmoci(t, archives(t, attack.lower, attack.layer), &attack.err)
		})
	}
}

// The same for layers that nobody would think of.
func TestRandomLayersAreUnpackedAsUmociDoes(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "umoci")
	random := rand.New(rand.NewSource(5))
	for range 40 {
		layers := []lines{randomLines(random, false), randomLines(random, true), randomLines(random, true)}
		likeUmoci(t, archives(t, layers...), nil)
		if t.Failed() {
			t.Fatalf("layers %q", layers)
		}
	}
}

// archives makes layers of lines.
func archives(t testing.TB, layers ...lines) (list [][]byte) {
	for _, l := range layers {
		list = append(list, archive(t, l...))
	}
	return list
}

// likeUmoci unpacks layers and compares what is seen of them with what umoci
// unpacks. The error refused, if it is not empty, may be ours and not umoci's.
func likeUmoci(t *testing.T, layers [][]byte, refused *string) {
	t.Helper()
	start := time.Now()
	theirs := t.TempDir() + "/rootfs"
	out, errTheirs := exec.Command("umoci", "raw", "unpack", "--image", layout(t, layers...)+":latest", theirs).CombinedOutput()
	var lower []string
	for _, l := range layers {
		dir := t.TempDir()
		lower = append([]string{dir}, lower...)
		switch _, err := layer.Apply(dir, bytes.NewReader(l), layer.Options{Lower: lower[1:]}); {
		case err == nil:
		case errTheirs != nil, refused != nil && *refused != "":
			return
		default:
			t.Fatalf("umoci unpacks it, and we say %v", err)
		}
	}
	if errTheirs != nil {
		t.Logf("we unpack it, and umoci says %s", out)
		return
	}
	s, err := overlay.Prepare(t.TempDir(), lower)
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), s.Steps)
		got, want := attributes(t, root)[1:], attributes(t, theirs)[1:] // umoci leaves the root's times
		for i := range min(len(got), len(want)) {
			got[i], want[i] = withoutNow(got[i], want[i], start)
		}
		same(t, got, want)
	})
}

// withoutNow takes the time from two lines of attributes, if in umoci's it is
// the present: a directory that the layers only imply is as old as the unpacking
// there, and of 1970 with us.
func withoutNow(ours, theirs string, start time.Time) (string, string) {
	var seconds int64
	_, rest, _ := strings.Cut(theirs, " time ")
	if _, err := fmt.Sscanf(rest, "%d.", &seconds); err != nil || seconds < start.Unix() {
		return ours, theirs
	}
	return timeless.ReplaceAllString(ours, ""), timeless.ReplaceAllString(theirs, "")
}

var timeless = regexp.MustCompile(` time \d+\.\d+`)
