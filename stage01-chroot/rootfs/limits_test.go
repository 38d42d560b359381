package rootfs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

func TestABombIsStoppedBeforeItFillsTheDisk(t *testing.T) {
	testkit.Need(t, "tar")
	hole := filepath.Join(t.TempDir(), "hole")
	writeFile(t, hole, "", 0o600)
	must(t, os.Truncate(hole, 1<<40))
	var many, deep []entry
	for i := range 100 {
		many = append(many, file(strings.Repeat("n", i+1), ""))
	}
	for i := range 20 { // fewer than the limit, but for what they are in
		deep = append(deep, file(strings.Repeat("n", i+1)+strings.Repeat("/d", 50), ""))
	}
	comment := entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": strings.Repeat("x", 1<<19)}}}
	for what, c := range map[string]struct {
		archive io.Reader
		errno   unix.Errno
	}{
		"a large file":           {archive(t, file("a", strings.Repeat("x", 2<<20))), unix.EFBIG},
		"large ones together":    {archive(t, file("a", strings.Repeat("x", 1<<19)), file("b", strings.Repeat("x", 1<<19+1))), unix.EFBIG},
		"a compressed file":      {gzipped(t, archive(t, file("a", strings.Repeat("x", 2<<20)))), unix.EFBIG},
		"a hole of a terabyte":   {sparse(t, hole), unix.EFBIG},
		"many files":             {archive(t, many...), unix.EDQUOT},
		"directories on the way": {archive(t, deep...), unix.EDQUOT},
		"remarks without end":    {archive(t, comment, comment, comment), unix.EFBIG},
	} {
		t.Run(what, func(t *testing.T) {
			root := t.TempDir()
			err := rootfs.Limits{MaxBytes: 1 << 20, MaxInodes: 70}.FromTar(root, c.archive)
			wantError(t, err, c.errno)
			if hint.Of(err) == "" {
				t.Error("no hint")
			}
			if size := sizeOf(t, root); size > 1<<20 {
				t.Errorf("%d bytes were written", size)
			}
		})
	}
}

func TestLimitsThatAreNotReachedDoNotMatter(t *testing.T) {
	for _, limits := range []rootfs.Limits{{}, {MaxBytes: -1, MaxInodes: -1}, {MaxBytes: 4096, MaxInodes: 3}} {
		must(t, limits.FromTar(t.TempDir(), archive(t, file("a/b", "x"), file("c", "y"))))
	}
}

func TestAnArchiveMayBeCompressedWithGzip(t *testing.T) {
	root := t.TempDir()
	must(t, rootfs.FromTar(root, gzipped(t, archive(t, file("a", "hello")))))
	if text, err := os.ReadFile(filepath.Join(root, "a")); string(text) != "hello" {
		t.Errorf("a has %q, %v", text, err)
	}
}

func TestAnotherCompressionIsNamed(t *testing.T) {
	testkit.Need(t, "xz", "bzip2")
	for _, program := range []string{"xz", "bzip2"} {
		err := rootfs.FromTar(t.TempDir(), strings.NewReader(output(t, program, "x")))
		wantError(t, err, rootfs.ErrCompressed, "read archive: the archive is compressed with "+program)
		if want := "decompress it first: " + program + " -d"; hint.Of(err) != want {
			t.Errorf("the hint is %q", hint.Of(err))
		}
	}
}

func gzipped(t *testing.T, data *bytes.Buffer) io.Reader {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	_, err := w.Write(data.Bytes())
	must(t, err)
	must(t, w.Close())
	return &buffer
}

// sparse has GNU tar pack a file with holes.
func sparse(t *testing.T, name string) io.Reader {
	t.Helper()
	return strings.NewReader(output(t, "tar", "", "-C", filepath.Dir(name), "--create", "--sparse", "--hole-detection=seek", filepath.Base(name)))
}

// sizeOf adds up what the files below a directory take on disk, in bytes.
func sizeOf(t *testing.T, dir string) (size int64) {
	t.Helper()
	must(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		must(t, err)
		if info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	}))
	return size
}
