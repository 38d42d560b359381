package layer_test

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// Fuzzing looks for layers that reach out of their directory, that make Apply
// fall over, that are something else when unpacked before those below, or that
// cannot be written once they were accepted. An ordinary
// test run tries the attacks of attack_test.go; to look for more,
//
//	go test -run=- -fuzz=FuzzEntries -fuzzminimizetime=1s ./layer

// FuzzEntries makes layers from lists of entries, in the notation of
// archive_test.go: two layers, one above the other.
func FuzzEntries(f *testing.F) {
	testkit.Root(f)
	for _, attack := range attacks {
		if above := strings.Join(attack.layer, "\n"); len(above) < 1000 {
			f.Add(strings.Join(attack.lower, "\n"), above)
		}
	}
	for _, test := range mergeTests {
		f.Add(strings.Join(test.layers[0], "\n"), strings.Join(test.layers[len(test.layers)-1], "\n"))
	}
	f.Fuzz(func(t *testing.T, below, above string) {
		stayInside(t, tryArchive(below), tryArchive(above))
	})
}

// FuzzArchive changes the bytes of the archive. Most changes end at the
// header's checksum, the others do what no list of entries can.
func FuzzArchive(f *testing.F) {
	testkit.Root(f)
	f.Add([]byte{}, pack(f, sample(f)))
	for _, test := range mergeTests {
		f.Add(archive(f, test.layers[0]...), archive(f, test.layers[len(test.layers)-1]...))
	}
	f.Fuzz(stayInside)
}

// tryArchive makes a layer of those lines that a tar file can hold.
func tryArchive(text string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(text) {
		h := header(strings.TrimSuffix(line, "\n"))
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname, h.Size = h.Linkname, "", int64(len(h.Linkname))
		}
		if w.WriteHeader(&h) == nil {
			io.WriteString(w, content) // into memory, and of the size announced
		}
	}
	w.Close()
	return b.Bytes()
}

// stayInside applies two layers and looks at what is around them.
func stayInside(t *testing.T, below, above []byte) {
	outside := t.TempDir()
	dir, lower := surround(t, outside)
	o := layer.Options{MaxBytes: 1 << 20, MaxInodes: 1000}
	// Half a layer is a layer too: what came of an error is gone on with.
	_, errBelow := layer.Apply(lower, bytes.NewReader(below), o)
	o.Lower = []string{lower}
	_, errAbove := layer.Apply(dir, bytes.NewReader(above), o)
	checkSurroundings(t, outside)
	loose := t.TempDir()
	_, errLoose := applyLoose(t, loose, above, o)
	if (errLoose == nil) != (errAbove == nil) {
		t.Fatalf("in order: error %v, before those below: error %v", errAbove, errLoose)
	}
	if errAbove == nil {
		same(t, attributes(t, loose), attributes(t, dir))
	}
	if errBelow == nil {
		roundTrip(t, lower)
	}
	if errAbove == nil {
		roundTrip(t, dir, lower)
	}
}

// roundTrip checks that a layer that was accepted can be written, and that the
// same comes of it when it is read.
func roundTrip(t *testing.T, dir string, lower ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := layer.Write(&b, dir); err != nil {
		t.Fatalf("write what was applied: %v", err)
	}
	again := t.TempDir()
	if _, err := layer.Apply(again, &b, layer.Options{Lower: lower}); err != nil {
		t.Fatalf("apply what was written: %v", err)
	}
	same(t, attributes(t, again), attributes(t, dir))
}
