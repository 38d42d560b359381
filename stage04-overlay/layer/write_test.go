package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// pack writes a directory as a layer.
func pack(t testing.TB, dir string, options ...layer.WriteOption) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := layer.Write(&b, dir, options...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entries lists an archive in the tests' notation, in its own order.
func entries(t testing.TB, archive []byte) (lines []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := h.Name
		switch {
		case h.Typeflag == tar.TypeSymlink:
			line += " -> " + h.Linkname
		case h.Typeflag == tar.TypeLink:
			line += " == " + h.Linkname
		case len(content) > 0:
			line += "=" + string(content)
		}
		lines = append(lines, line)
	}
}

// What a container changed becomes a layer: the upper directory, packed.
func TestCommit(t *testing.T) {
	testkit.HostUnchanged(t)
	image := stack(t, archive(t, "etc/", "etc/motd=welcome", "etc/old=x", "var/", "var/cache/", "var/cache/a=1"))
	s, err := overlay.Prepare(t.TempDir(), image)
	if err != nil {
		t.Fatal(err)
	}
	mounttest.Private(t, func() {
		root := mounttest.Mount(t, t.TempDir(), s.Steps)
		err := errors.Join(
			os.WriteFile(root+"/etc/motd", []byte("changed"), 0o644),
			os.Remove(root+"/etc/old"),
			os.RemoveAll(root+"/var/cache"),
			os.Mkdir(root+"/var/cache", 0o755),
			os.WriteFile(root+"/var/cache/b", []byte("2"), 0o644),
			os.Link(root+"/var/cache/b", root+"/var/cache/c"),
		)
		if err != nil {
			t.Fatal(err)
		}
		// A renamed directory would say "my files are in the layer below, under
		// another name". The mount forbids it, and mv copies instead.
		if err := os.Rename(root+"/etc", root+"/etc2"); !errors.Is(err, unix.EXDEV) {
			t.Errorf("rename of an image's directory: %v, want EXDEV", err)
		}
	})
	same(t, entries(t, pack(t, s.Upper)), []string{
		"./",
		"etc/", "etc/.wh.old", "etc/motd=changed",
		"var/", "var/cache/", "var/cache/.wh..wh..opq", "var/cache/b=2", "var/cache/c == var/cache/b",
	})
}

// The same directory gives the same bytes, in whatever order its files were
// made; and with a fixed time, the same files give them on any day.
func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	testkit.Root(t)
	a := apply(t, archive(t, "d/", "d/b=1", "a=2", "z == a", "l -> a"))
	b := apply(t, archive(t, "l -> a", "z=2", "a == z", "d/", "d/b=1"))
	if !bytes.Equal(pack(t, a), pack(t, b)) {
		t.Errorf("different bytes: %q, %q", entries(t, pack(t, a)), entries(t, pack(t, b)))
	}
	now := time.Now()
	if err := os.Chtimes(b+"/a", now, now); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(pack(t, a), pack(t, b)) {
		t.Error("the same bytes, but different times")
	}
	fixed := layer.FixedTime(time.Unix(1_700_000_000, 0))
	if !bytes.Equal(pack(t, a, fixed), pack(t, b, fixed)) {
		t.Error("different bytes in spite of a fixed time")
	}
}

// A socket is nothing without its process.
func TestSocketsAreLeftOut(t *testing.T) {
	testkit.Root(t)
	dir := apply(t, archive(t, "a=1"))
	l, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	same(t, entries(t, pack(t, dir)), []string{"./", "a=1"})
}

// What a layer cannot say is an error, not another layer.
func TestDirectoriesThatCannotBeLayers(t *testing.T) {
	testkit.Root(t)
	reserved := apply(t, archive(t, "d/"))
	if err := os.WriteFile(reserved+"/d/.wh.x", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	redirected := apply(t, archive(t, "d/"))
	if err := unix.Setxattr(redirected+"/d", "trusted.overlay.redirect", []byte("/e"), 0); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		reserved:           `pack "d/.wh.x": in a layer, a name that begins with ".wh." says that a file is deleted`,
		redirected:         `pack "d": has trusted.overlay.redirect: a part of it is in a lower layer`,
		reserved + "/none": `open layer directory `,
	} {
		if err := layer.Write(io.Discard, dir); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
