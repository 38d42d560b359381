package image_test

import (
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestReferencesInFullAndInShort(t *testing.T) {
	for _, test := range []struct{ written, full, short string }{
		{"alpine", "docker.io/library/alpine:latest", "alpine"},
		{"alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"},
		{"index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine"},
		{"someone/tool", "docker.io/someone/tool:latest", "someone/tool"},
		{"localhost/tool", "localhost/tool:latest", "localhost/tool"},
		{"127.0.0.1:5000/demo:1", "127.0.0.1:5000/demo:1", "127.0.0.1:5000/demo:1"},
		{"[::1]:5000/demo", "[::1]:5000/demo:latest", "[::1]:5000/demo"},
		{"reg.example/a/b/c@" + someDigest, "reg.example/a/b/c@" + someDigest, "reg.example/a/b/c@" + someDigest},
		{"alpine:3.20@" + someDigest, "docker.io/library/alpine@" + someDigest, "alpine@" + someDigest},
	} {
		full, err := image.Normalize(test.written)
		if err != nil || full != test.full {
			t.Errorf("Normalize(%q) = %q, %v; want %q", test.written, full, err, test.full)
		}
		if short := image.Familiar(full); short != test.short {
			t.Errorf("Familiar(%q) = %q, want %q", full, short, test.short)
		}
		if again, err := image.Normalize(image.Familiar(full)); err != nil || again != full {
			t.Errorf("Normalize(Familiar(%q)) = %q, %v", full, again, err)
		}
	}
}

func TestWhatIsNoReferenceIsAnErrorWithAHint(t *testing.T) {
	for written, advice := range map[string]string{
		"":                         "a reference looks like",
		"Alpine":                   "repository names are written in lower case",
		"alpine:":                  "a reference looks like",
		"../etc/passwd":            "a reference looks like",
		"alpine@sha256:123":        "a reference looks like",
		"alpine\n":                 "a reference looks like",
		"https://reg.example/tool": "leave out the scheme",
		strings.Repeat("a", 300):   "a reference looks like",
		strings.TrimPrefix(someDigest, "sha256:"): "a reference looks like",
	} {
		_, err := image.Normalize(written)
		if err == nil || !strings.HasPrefix(hint.Of(err), advice) {
			t.Errorf("Normalize(%q): %v, hint %q, want %q", written, err, hint.Of(err), advice)
		}
	}
}
