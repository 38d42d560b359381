package rootfs_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// Fuzzing looks for archives that make something outside the root, that make
// FromTar fall over, or that give two different trees. An ordinary test run
// tries the attacks of fromtar_test.go and those in testdata; for more,
//
//	go test -run=- -fuzz=FuzzFromTar -fuzzminimizetime=10x ./rootfs
func FuzzFromTar(f *testing.F) {
	testkit.Root(f) // others cannot look into what they have closed
	for _, a := range attacks {
		if packed := archive(f, a.entries...); packed.Len() < 8<<10 {
			f.Add(packed.Bytes())
		}
	}
	f.Add(archive(f, device("null", 1, 3), dir("a/b/../c"), file("a/b/c", "x")).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		repair(data)
		var compressed bytes.Buffer
		w := gzip.NewWriter(&compressed)
		_, err := w.Write(data)
		must(t, err)
		must(t, w.Close())
		first, second := unpacked(t, data), unpacked(t, compressed.Bytes())
		if first != second {
			t.Errorf("the same archive, two trees:\n%s", difference(t, first, second))
		}
	})
}

// repair writes the right checksum into what looks like a header, tar(5): most
// changes would end at a wrong one.
func repair(data []byte) {
	const size, magic, sum, kind = 512, 257, 148, 156
	for ; len(data) >= size; data = data[size:] {
		header := data[:size]
		if !bytes.HasPrefix(header[magic:], []byte("ustar")) {
			continue
		}
		copy(header[sum:kind], "        ")
		total := 0
		for _, b := range header {
			total += int(b)
		}
		copy(header[sum:], fmt.Sprintf("%06o\x00 ", total))
	}
}

// unpacked describes what an archive leads to: an error, and a tree.
func unpacked(t *testing.T, data []byte) string {
	t.Helper()
	outside := t.TempDir()
	root := filepath.Join(outside, "root")
	must(t, os.Mkdir(root, 0o755))
	writeFile(t, filepath.Join(outside, "secret"), "good", 0o644)
	limits := rootfs.Limits{MaxBytes: 1 << 20, MaxInodes: 500}
	if err := limits.FromTar(root, bytes.NewReader(data)); err != nil {
		wantUntouched(t, outside)
		return "an error"
	}
	wantUntouched(t, outside)
	return digest(t, root)
}
