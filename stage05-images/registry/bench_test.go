package registry_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
	"skiff.example/stage05-images/registry"
)

// large is an image of 4 layers and 64 MiB in 1,024 files, which compresses to
// about a third, as programs do.
func large(t testing.TB, c assemble.Compression) v1.Image {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var layers []assemble.Layer
	for range 4 {
		var files []assemble.File
		for i := range 256 {
			var text strings.Builder
			for text.Len() < 64<<10 {
				// A random word, and something that comes again and again.
				for range 4 {
					text.WriteByte(byte(random.Uint32()))
				}
				text.WriteString("\x48\x89\xe5\x48\x83\xec\x10")
			}
			files = append(files, assemble.Regular(filepath.Join("usr", string(rune('a'+i%26)), strings.Repeat("x", 1+i/26)), text.String(), 0o755))
		}
		layers = append(layers, assemble.Files(files...))
	}
	img, err := assemble.Image(layers, assemble.Options{Compression: c})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func BenchmarkPull64MiB(b *testing.B) {
	for name, c := range map[string]assemble.Compression{"gzip": assemble.Gzip, "zstd": assemble.Zstd, "none": assemble.None} {
		b.Run(name, func(b *testing.B) {
			testkit.Root(b)
			hub := serve(b)
			ref := hub.push(b, large(b, c), "large:1")
			b.SetBytes(64 << 20)
			b.ReportAllocs()
			for b.Loop() {
				store, err := image.Open(b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := registry.Pull(b.Context(), store, ref, registry.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A layer streams: however large it is, a pull holds a few buffers of it.
func TestALayerIsNeverInMemoryAsAWhole(t *testing.T) {
	testkit.HostUnchanged(t)
	hub := serve(t)
	_, dir := openStore(t)
	ref := hub.push(t, noise(t, 64<<20, assemble.None), "large:1")
	out, err := exec.Command(os.Args[0], "pull", dir, ref).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var peak int
	if _, err := fmt.Sscanf(string(out), "VmHWM: %d kB", &peak); err != nil || peak > 48<<10 {
		t.Errorf("the pull of a layer of 64 MiB took %d KiB of memory (%v)", peak, err)
	}
}
