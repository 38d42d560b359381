package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"skiff.example/stage01-chroot/rootfs/inroot"
)

// tree makes a folder. Of a name that ends in "@" the text is where a link leads to,
// and one that ends in "/" is a directory.
func tree(t *testing.T, named map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range named {
		path := filepath.Join(dir, strings.TrimRight(name, "@/"))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		case strings.HasSuffix(name, "@"):
			err = errors.Join(err, os.Symlink(text, path))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// packed is what a COPY from the folder context puts into a layer above the folder image.
func packed(t *testing.T, context, image string, c copying) (names []string, err error) {
	t.Helper()
	b := &builder{}
	if b.context, err = inroot.Open(context); err != nil {
		t.Fatal(err)
	}
	defer b.context.Close()
	if b.ignored, err = readIgnored(b.context, "Dockerfile"); err != nil {
		t.Fatal(err)
	}
	s := &stage{dirs: []string{image}}
	s.config.Config.WorkingDir = "/work"
	o, err := b.origin(t.Context(), s, c)
	if err != nil {
		return nil, err
	}
	p := newPacker(io.Discard, nil, o)
	if err := p.set(s, c); err != nil {
		return nil, err
	}
	sources, err := o.find(c)
	if err != nil {
		return nil, err
	}
	sum, err := p.sum(t.Context(), sources)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	if err := b.pack(t.Context(), &layer, s, c, p, sources, sum); err != nil {
		return nil, err
	}
	for r := tar.NewReader(&layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o %d:%d%s", h.Name, h.Mode, h.Uid, h.Gid, strings.TrimSuffix(" > "+h.Linkname, " > ")))
	}
}

func TestWhereACopyGoes(t *testing.T) {
	context := tree(t, map[string]string{
		"a.txt": "a", "b.txt": "b", "tree/lib/so": "so", "tree/up@": "../..", "link@": "a.txt", "skip/one": "1", "skip/two": "2", ".dockerignore": "skip\n!skip/two\n*ignore\n",
	})
	image := tree(t, map[string]string{"usr/lib/": "", "lib@": "usr/lib", "there/": "", "file": "", "to@": "there", "etc/passwd": "guest:x:5:6::/:/bin/sh\n"})
	for _, c := range []struct {
		from, to, want string
	}{
		{"a.txt", "/one", "one 644 0:0"},
		{"a.txt", "one", "work/ 755 0:0, work/one 644 0:0"},
		{"a.txt", "/there", "there/a.txt 644 0:0"},
		{"a.txt", "/to/", "to/a.txt 644 0:0"},
		{"a.txt", "/new/", "new/ 755 0:0, new/a.txt 644 0:0"},
		{"a.txt", "/file", "file 644 0:0"},
		{"*.txt", "/there", "there/a.txt 644 0:0, there/b.txt 644 0:0"},
		{"link", "/there", "there/link 644 0:0"},                                                       // a source that is a link is followed
		{"tree", "/", "lib/so 644 0:0, up 777 0:0 > ../.."},                                            // lib is a link to a directory, and stays one
		{"tree", "/new", "new/ 755 0:0, new/lib/ 755 0:0, new/lib/so 644 0:0, new/up 777 0:0 > ../.."}, // one below is not
		{"skip", "/there", "there/two 644 0:0"},
		{"a.txt", "/../../x", "x 644 0:0"},
	} {
		got, err := packed(t, context, image, copying{SourcesAndDest: instructions.SourcesAndDest{SourcePaths: []string{c.from}, DestPath: c.to}})
		if text := strings.Join(got, ", "); err != nil || text != c.want {
			t.Errorf("COPY %s %s:\n got %s %v\nwant %s", c.from, c.to, text, err, c.want)
		}
	}
	for chown, want := range map[string]string{"guest": "5:6", "7": "7:7", "guest:9": "5:9", "1:2": "1:2"} {
		c := copying{SourcesAndDest: instructions.SourcesAndDest{SourcePaths: []string{"a.txt"}, DestPath: "/x/y"}, chown: chown, chmod: "4710"}
		if got, err := packed(t, context, image, c); err != nil || !slices.Equal(got, []string{"x/ 755 " + want, "x/y 4710 " + want}) {
			t.Errorf("--chown=%s: %q, %v", chown, got, err)
		}
	}
}

// CVE-2018-15664 and its like: each of these names would be a file of the host if it
// were looked up as it is written.
func TestASourceStaysInItsFolder(t *testing.T) {
	outside := tree(t, map[string]string{"secret": "secret"})
	dots := strings.Repeat("../", 20) + outside[1:]
	context := tree(t, map[string]string{"absolute@": outside + "/secret", "relative@": dots + "/secret", "folder@": outside, "f": "", ".wh.f": "", "dir/x": "", "sub/dir/x": ""})
	image := tree(t, map[string]string{"up@": dots, "dir": "", "f/": ""})
	for _, c := range []struct{ from, to, want string }{
		{"absolute", "/x", "is not in the build context"},
		{"relative", "/x", "is not in the build context"},
		{"folder/secret", "/x", "is not in the build context"},
		{"folder/*", "/x", "is not in the build context"},
		{"fold*/secret", "/x", "is not in the build context"},
		{"../" + filepath.Base(outside) + "/secret", "/x", "is outside of the build context"},
		{"/a/../../secret", "/x", "is outside of the build context"},
		{".wh.f", "/x/", "says that a file is deleted"},
		{"dir", "/dir", "is no directory"},
		{"sub", "/", "is no directory, and this is one"},
		{"f", "/", "is a directory, and this is none"},
	} {
		_, err := packed(t, context, image, copying{SourcesAndDest: instructions.SourcesAndDest{SourcePaths: []string{c.from}, DestPath: c.to}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("COPY %s %s: %v, want … %s …", c.from, c.to, err, c.want)
		}
	}
}

// ADD unpacks what is an archive, whatever it is called, and nothing else.
func TestAnArchiveIsUnpacked(t *testing.T) {
	image := tree(t, map[string]string{"usr/lib/": "", "lib@": "usr/lib"})
	add := func(content []byte) string {
		dir := tree(t, map[string]string{"file": string(content)})
		c := copying{SourcesAndDest: instructions.SourcesAndDest{SourcePaths: []string{"file"}, DestPath: "/"}, add: true}
		got, err := packed(t, dir, image, c)
		return fmt.Sprint(strings.Join(got, ", "), err)
	}
	archive := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Mode, h.Uid, h.Gid = 0o600, 5, 6
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	plain := archive(tar.Header{Name: "./", Typeflag: tar.TypeDir}, tar.Header{Name: "lib/", Typeflag: tar.TypeDir}, tar.Header{Name: "/lib/f"}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "./lib/f"})
	var zipped, zstandard bytes.Buffer
	z := gzip.NewWriter(&zipped)
	y, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{z, y} {
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const unpacked = "lib/f 600 5:6, l 600 5:6 > lib/f<nil>"
	for name, c := range map[string]struct{ content, want string }{
		"plain":    {string(plain), unpacked},
		"gzip":     {zipped.String(), unpacked},
		"zstd":     {zstandard.String(), unpacked},
		"text":     {"text", "file 644 0:0<nil>"},
		"empty":    {"", "file 644 0:0<nil>"},
		"broken":   {"\x1f\x8b", "file 644 0:0<nil>"},
		"xz":       {"\xfd7zXZ\x00", `"file" of the build context: xz is not supported`},
		"name out": {string(archive(tar.Header{Name: "a/../../out"})), `"file" of the build context: archive: "a/../../out": leads out of the archive`},
		"link out": {string(archive(tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../etc/shadow"})), `"file" of the build context: archive: "l": leads out of the archive`},
	} {
		if got := add([]byte(c.content)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// What changes between the look into the cache and the packing must not come under
// the wrong key.
func TestAContextThatChangesMeanwhile(t *testing.T) {
	dir := tree(t, map[string]string{"f": "one"})
	root, err := inroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	b, c := &builder{}, copying{SourcesAndDest: instructions.SourcesAndDest{SourcePaths: []string{"f"}, DestPath: "/f"}}
	p := newPacker(io.Discard, nil, &origin{root: root, what: "the build context"})
	sources := []found{{name: "f"}}
	sum, err := p.sum(context.Background(), sources)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("two"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = b.pack(t.Context(), io.Discard, &stage{}, c, p, sources, sum)
	if err == nil || !strings.Contains(err.Error(), "has changed while it was read") {
		t.Error(err)
	}
}

func TestTheStagesThatAreNeeded(t *testing.T) {
	for recipe, want := range map[string]string{
		"FROM a\nFROM b\n":                             "[1]",
		"FROM a AS x\nFROM b\nFROM X\n":                "[0 2]",
		"FROM a\nFROM b\nFROM c\nCOPY --from=0 x y\n":  "[0 2]",
		"ARG W=x\nFROM a AS x\nFROM $W\n":              "[0 1]",
		"FROM a AS x\nFROM b\nCOPY --from=image x y\n": "[1]",
	} {
		r, err := readRecipe(filepath.Join(tree(t, map[string]string{"Dockerfile": recipe}), "Dockerfile"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if needed, err := r.needed(len(r.stages) - 1); err != nil || fmt.Sprint(needed) != want {
			t.Errorf("%q needs %v, %v", recipe, needed, err)
		}
	}
}
