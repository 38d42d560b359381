package rootfs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The configuration of ld.so cannot be changed for a test, so how it is read
// is tested with files of our own.
func TestLdSoConfIsReadAsLdconfigDoes(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ld.so.conf":    "/first # a comment\n\ninclude conf.d/*.conf\nhwcap 1 nosegneg\n/last/,/very//last\n",
		"conf.d/b.conf": "/b1:/b2\n",
		"conf.d/a.conf": "# nothing but a comment\n\t/a\n",
		"conf.d/c.old":  "/not-included\n",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "conf.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readLdSoConf(filepath.Join(dir, "ld.so.conf"))
	if want := []string{"/first", "/a", "/b1", "/b2", "/last", "/very/last"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestNoLdSoConfIsNoDirectories(t *testing.T) {
	if got, err := readLdSoConf(filepath.Join(t.TempDir(), "ld.so.conf")); got != nil || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A library that only the loader's cache knows brings the cache along.
func TestACacheComesAlongWhenALibraryIsFoundThroughIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ld.so.cache")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &search{interp: "ld.so", configured: []string{"/opt/lib", "/lib"}, builtin: []string{"/lib"}, files: []string{file}}
	for library, want := range map[string]bool{"/lib/a.so": false, "/opt/lib/a.so": true, "/rpath/a.so": false} {
		var c Closure
		if err := c.addSearchFiles(s, []*object{{}, {path: library, origin: filepath.Dir(library)}}); err != nil {
			t.Fatal(err)
		}
		if got := len(c.Files()) > 0; got != want {
			t.Errorf("library %s: cache added is %v, want %v", library, got, want)
		}
	}
}
