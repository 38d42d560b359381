package image_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/image"
)

func TestAnImageIsFoundByNameAndByDigest(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	one, two := twoImages(t, in)
	details, err := s.Inspect("demo:2")
	if err != nil {
		t.Fatal(err)
	}
	manifest, id := two.Digest.Encoded(), details.ID.Encoded()
	for _, word := range []string{
		"demo:2", "docker.io/library/demo:2", "index.docker.io/library/demo:2", "demo@sha256:" + manifest, "demo:other@sha256:" + manifest,
		"sha256:" + manifest, manifest, manifest[:12], "sha256:" + manifest[:4], "sha256:" + id, id[:12],
	} {
		if found, err := s.Find(word); err != nil || found.Digest != two.Digest {
			t.Errorf("%s: %+v, %v", word, found, err)
		}
	}
	for word, want := range map[string]string{
		"demo":                              notFound("demo"),
		"demo:3":                            notFound("demo:3"),
		"other@sha256:" + manifest:          notFound("other@sha256:" + manifest),
		"sha256:" + strings.Repeat("0", 64): notFound("sha256:" + strings.Repeat("0", 64)),
		manifest[:3]:                        notFound(manifest[:3]), // too short for a digest, and a fine name
		"../" + manifest[:12]:               `image reference "../` + manifest[:12] + `": invalid reference format`,
	} {
		if _, err := s.Find(word); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", word, err, want)
		}
	}
	// A name comes first.
	name := two.Digest.Encoded()[:12]
	if err := s.Tag(t.Context(), "demo:1", name); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Find(name); err != nil || found.Digest != one.Digest {
		t.Errorf("%+v, %v", found, err)
	}
}

func notFound(word string) string { return fmt.Sprintf("image %q: %v", word, image.ErrNotFound) }

// A digest that begins as two of them do.
func TestADigestThatIsTooShort(t *testing.T) {
	s, _, dir := open(t)
	index := `{"schemaVersion":2,"manifests":[`
	for i := range 2 {
		index += fmt.Sprintf(`{"digest":"sha256:abcd%060d","size":2},`, i)
	}
	write(t, filepath.Join(dir, "index.json"), strings.TrimSuffix(index, ",")+"]}")
	_, err := s.Find("abcd")
	if err == nil || !strings.Contains(err.Error(), "several whose digest begins so") || hint.Of(err) != "write more of it" {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// names lists the store.
func names(t *testing.T, s *image.Store) (all []string) {
	t.Helper()
	entries, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, image.Familiar(e.Reference))
	}
	return all
}

func TestTagAndRemove(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	one, two := twoImages(t, in)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Tag(t.Context(), "demo:1", "reg.example/other"))
	must(s.Tag(t.Context(), one.Digest.Encoded()[:12], "third:3"))
	if got := names(t, s); !slices.Equal(got, []string{"demo:1", "demo:2", "reg.example/other", "third:3"}) {
		t.Errorf("%q", got)
	}
	must(s.Tag(t.Context(), "demo:2", "third:3")) // it moves
	if found, err := s.Find("third:3"); err != nil || found.Digest != two.Digest {
		t.Errorf("%+v, %v", found, err)
	}
	var asked []digest.Digest
	never := errors.New("never")
	unless := func(d digest.Digest) error { asked = append(asked, d); return never }
	if gone, err := s.Remove(t.Context(), "demo:1", unless); err != nil || len(gone) != 1 || len(asked) > 0 {
		t.Errorf("by name: %v, %v, asked for %v", gone, err, asked)
	}
	if _, err := s.Remove(t.Context(), "reg.example/other", unless); !errors.Is(err, never) || !slices.Equal(asked, []digest.Digest{one.Digest}) {
		t.Errorf("the last name: %v, asked for %v", err, asked)
	}
	if gone, err := s.Remove(t.Context(), two.Digest.String(), nil); err != nil || len(gone) != 2 {
		t.Errorf("by digest: %v, %v", gone, err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"reg.example/other"}) {
		t.Errorf("%q", got)
	}
	for _, c := range [][2]string{{"nothing", "name"}, {"reg.example/other", "name@" + someDigest}, {"reg.example/other", "Name"}, {"reg.example/other", someDigest}} {
		if err := s.Tag(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("tag %q succeeded", c)
		}
	}
}

func TestSizesAndSharing(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	twoImages(t, in)
	if err := s.Tag(t.Context(), "demo:1", "again"); err != nil {
		t.Fatal(err)
	}
	all, err := s.Images()
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	one := all[0]
	layers := one.Manifest.Layers
	if want := layers[0].Size + layers[1].Size + one.Manifest.Config.Size; one.Size != want || one.Shared != layers[0].Size {
		t.Errorf("size %d, want %d; shared %d, want %d", one.Size, want, one.Shared, layers[0].Size)
	}
	if !slices.Equal(one.References, []string{"docker.io/library/demo:1", "docker.io/library/again:latest"}) {
		t.Errorf("%q", one.References)
	}
	// No history: each layer has a step of its own.
	if len(one.History) != 2 || one.History[1].Layer != layers[1].Digest || one.History[1].Size != layers[1].Size {
		t.Errorf("%+v", one.History)
	}
}

// An index that could not be read any more would be the end of the store.
func TestTheIndexDoesNotGrowBeyondWhatIsRead(t *testing.T) {
	s, _, dir := open(t)
	entry := fmt.Sprintf(`{"digest":%q,"size":2,"annotations":{"org.opencontainers.image.ref.name":"docker.io/library/%%s:latest","x":%q}}`,
		someDigest, strings.Repeat("x", image.MaxJSON/2))
	write(t, filepath.Join(dir, "index.json"), index(fmt.Sprintf(entry, "demo")))
	if err := s.Tag(t.Context(), "demo", "second"); err == nil || !strings.Contains(err.Error(), "index.json\": larger than") {
		t.Errorf("%.200v", err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"demo"}) {
		t.Errorf("%q", got)
	}
}
