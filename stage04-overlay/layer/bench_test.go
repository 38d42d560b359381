package layer_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// typical is a layer of 3,000 files in 150 directories, 8 KiB each: what most
// packages look like.
func typical(b *testing.B) []byte {
	var lines []string
	content := strings.Repeat("skiff", 8<<10/5)
	for dir := range 150 {
		lines = append(lines, fmt.Sprintf("usr/lib/package%d/", dir))
		for file := range 20 {
			lines = append(lines, fmt.Sprintf("usr/lib/package%d/file%d=%s", dir, file, content))
		}
	}
	return archive(b, lines...)
}

// BenchmarkApply should come near BenchmarkGNUTar, which does the same with
// fewer questions.
func BenchmarkApply(b *testing.B) {
	testkit.Root(b)
	archive := typical(b)
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		dir := b.TempDir()
		if _, err := layer.Apply(dir, bytes.NewReader(archive), layer.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGNUTar(b *testing.B) {
	testkit.Root(b)
	testkit.Need(b, "tar")
	file := b.TempDir() + "/layer.tar"
	archive := typical(b)
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		if out, err := exec.Command("tar", "-C", b.TempDir(), "-xpf", file).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
