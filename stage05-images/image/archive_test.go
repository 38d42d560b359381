package image_test

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

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage05-images/assemble"
	"skiff.example/stage05-images/image"
)

// saved is an archive of these images.
func saved(t *testing.T, s *image.Store, words ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(t.Context(), &b, words...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// loaded are the names that an archive gives a new store, or what is wrong with it.
func loaded(t *testing.T, archive []byte) (s *image.Store, names string, err error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	s, err = image.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	images, err := s.Load(t.Context(), bytes.NewReader(archive), ocispec.Platform{OS: "linux", Architecture: "amd64"})
	for _, img := range images {
		names += image.Familiar(img.Reference) + " " + img.Digest.String() + "\n"
	}
	if left := files(t, dir, "tmp/*"); len(left) > 0 {
		t.Errorf("unfinished: %q", left)
	}
	if beside, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(beside) != 1 {
		t.Errorf("beside the store there are %v, %v", beside, err)
	}
	return s, names, err
}

func TestWhatIsSavedCanBeLoaded(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	one, two := twoImages(t, in)
	archive := saved(t, s, "demo:1", "demo:2", two.Digest.Encoded())
	if again := saved(t, s, "demo:1", "demo:2", two.Digest.Encoded()); !bytes.Equal(archive, again) {
		t.Error("the same images give other bytes")
	}
	want := fmt.Sprintf("demo:1 %s\ndemo:2 %s\n %s\n", one.Digest, two.Digest, two.Digest)
	for name, packed := range map[string][]byte{"plain": archive, "gzip": packed(t, archive, gzipped), "zstd": packed(t, archive, zstandard)} {
		other, got, err := loaded(t, packed)
		if err != nil || got != want {
			t.Errorf("%s: %s%v; want %s", name, got, err, want)
			continue
		}
		if problems, err := other.Check(t.Context(), image.CheckOptions{}); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
		if entries := names(t, other); !slices.Equal(entries, []string{"demo:1", "demo:2"}) {
			t.Errorf("%s: %q", name, entries)
		}
	}
	// What has no name is there all the same, also after a collection.
	other, _, err := loaded(t, saved(t, s, two.Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Collect(); err != nil {
		t.Fatal(err)
	}
	if found, err := other.Find(two.Digest.Encoded()[:12]); err != nil || found.Reference != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTheArchive(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, _ := open(t)
	twoImages(t, in)
	var listing strings.Builder
	archive := tar.NewReader(bytes.NewReader(saved(t, s, "demo:1", "demo:2")))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&listing, "%c %#o %d:%d %d %d %s\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Size, h.Name)
		if strings.HasSuffix(h.Name, ".json") || h.Name == "oci-layout" {
			content, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&listing, "  %s\n", content)
		}
	}
	testkit.Golden(t, listing.String(), "archive.golden")
}

func TestASaveThatFails(t *testing.T) {
	testkit.HostUnchanged(t)
	s, in, dir := open(t)
	one, _ := twoImages(t, in)
	if err := s.Save(t.Context(), io.Discard, "nothing"); !errors.Is(err, image.ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Save(ctx, io.Discard, "demo:1"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	details, err := s.Inspect("demo:1")
	if err != nil {
		t.Fatal(err)
	}
	l := details.Manifest.Layers[1]
	path := filepath.Join(dir, "blobs/sha256", l.Digest.Encoded())
	rotten := bytes.Repeat([]byte("x"), int(l.Size))
	write(t, path, string(rotten))
	if err := s.Save(t.Context(), io.Discard, "demo:1"); !errors.Is(err, image.ErrDigest) {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "blobs/sha256", one.Digest.Encoded())); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), io.Discard, "demo:1"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// A member of an archive.
type member struct {
	tar.Header
	content string
}

func file(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func blob(content string) member {
	return file("blobs/sha256/"+digest.FromString(content).Encoded(), content)
}

// pack is the tar file of these.
func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.content))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// parts are what an image of one layer consists of, as texts.
type parts struct{ layer, config, manifest, index string }

func newParts(t testing.TB) parts {
	t.Helper()
	p := parts{layer: string(tarOf(t, assemble.Regular("file", "hello\n", 0o644)))}
	p.config = fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%q]}}`, digest.FromString(p.layer))
	p.manifest = fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`,
		describe(ocispec.MediaTypeImageConfig, p.config), describe(ocispec.MediaTypeImageLayer, p.layer))
	p.index = index(described(ocispec.MediaTypeImageManifest, p.manifest, `,"annotations":{"org.opencontainers.image.ref.name":"demo:1"}`))
	return p
}

func index(manifests ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(manifests, ",") + `]}`
}

func describe(mediaType, content string) string { return described(mediaType, content, "") }

func described(mediaType, content, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, digest.FromString(content), len(content), more)
}

func docker(config, tags string, layers ...string) member {
	return file("manifest.json", fmt.Sprintf(`[{"Config":%q,"RepoTags":%s,"Layers":["%s"]}]`, config, tags, strings.Join(layers, `","`)))
}

func link(kind byte, name, target string) member {
	return member{tar.Header{Typeflag: kind, Name: name, Linkname: target}, ""}
}

func TestArchivesOfEveryForm(t *testing.T) {
	testkit.HostUnchanged(t)
	p := newParts(t)
	layer, config := file("layer.tar", p.layer), file("config.json", p.config)
	amd := described(ocispec.MediaTypeImageManifest, p.manifest, `,"platform":{"os":"linux","architecture":"amd64"}`)
	arm := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + someDigest + `","size":7,"platform":{"os":"linux","architecture":"arm64"}}`
	many := index(arm, amd)
	sha512 := digest.SHA512.FromString(p.config)
	strong := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[%s]}`,
		ocispec.MediaTypeImageConfig, sha512, len(p.config), describe(ocispec.MediaTypeImageLayer, p.layer))
	for name, c := range map[string]struct {
		want    string // the names
		members []member
	}{
		"OCI, the index first": {"demo:1", []member{file("oci-layout", "{}"), file("index.json", p.index), blob(p.manifest), blob(p.config), blob(p.layer)}},
		"OCI, the index last":  {"demo:1", []member{blob(p.layer), blob(p.config), blob(p.manifest), file("./index.json", p.index)}},
		"OCI, two platforms": {"many", []member{blob(p.layer), blob(p.config), blob(p.manifest), blob(many), file("index.json",
			index(described(ocispec.MediaTypeImageIndex, many, `,"annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"docker.io/library/many:latest"}`)))}},
		"OCI, no name":             {"", []member{blob(p.layer), blob(p.config), blob(p.manifest), file("index.json", index(describe(ocispec.MediaTypeImageManifest, p.manifest)))}},
		"OCI, sha512":              {"", []member{blob(p.layer), file("blobs/sha512/"+sha512.Encoded(), p.config), blob(strong), file("index.json", index(describe("", strong)))}},
		"docker":                   {"demo:1", []member{layer, config, docker("config.json", `["demo:1"]`, "layer.tar")}},
		"docker, the paths differ": {"demo:1", []member{layer, config, docker("./config.json", `["demo:1"]`, "/x/../layer.tar")}},
		"docker, no name":          {"", []member{layer, config, docker("config.json", `null`, "layer.tar")}},
		"docker, two names":        {"demo:1 demo:2", []member{layer, config, docker("config.json", `["demo:1","demo:2"]`, "layer.tar")}},
		"docker, gzip":             {"demo:1", []member{file("layer.tar", string(packed(t, []byte(p.layer), gzipped))), config, docker("config.json", `["demo:1"]`, "layer.tar")}},
		"docker, a link":           {"demo:1", []member{layer, link(tar.TypeSymlink, "a/layer.tar", "../layer.tar"), config, docker("config.json", `["demo:1"]`, "a/layer.tar")}},
		"docker, a hard link":      {"demo:1", []member{layer, link(tar.TypeLink, "a/layer.tar", "layer.tar"), config, docker("config.json", `["demo:1"]`, "a/layer.tar")}},
		"links to elsewhere that nobody uses": {"demo:1", []member{
			layer, link(tar.TypeSymlink, "x", "../../etc/passwd"), link(tar.TypeLink, "y", "/etc/passwd"), config, docker("config.json", `["demo:1"]`, "layer.tar"),
		}},
		"both: the index is right": {"demo:1", []member{
			blob(p.layer), blob(p.config), blob(p.manifest), file("index.json", p.index), docker("elsewhere", `["other:1"]`, "nowhere"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, got, err := loaded(t, pack(t, c.members...))
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for line := range strings.Lines(got) {
				found = append(found, strings.Fields(" " + line)[0])
			}
			if c.want != "" && strings.Join(found, " ") != c.want || c.want == "" && !strings.HasPrefix(got, " sha256:") {
				t.Errorf("%q, want %q", got, c.want)
			}
			if problems, err := s.Check(t.Context(), image.CheckOptions{}); err != nil || len(problems) > 0 {
				t.Errorf("%v, %v", problems, err)
			}
		})
	}
}

// Each of these is refused, in one line that says why, and nothing has a name.
func TestHostileArchives(t *testing.T) {
	testkit.HostUnchanged(t)
	p := newParts(t)
	layer, config, tagged := file("layer.tar", p.layer), file("config.json", p.config), `["demo:1"]`
	oci := func(index string, blobs ...member) []member {
		return slices.Concat(blobs, []member{file("index.json", index)})
	}
	whole := []member{blob(p.layer), blob(p.config), blob(p.manifest)}
	inside := index(describe(ocispec.MediaTypeImageManifest, p.manifest))
	outer := index(describe(ocispec.MediaTypeImageIndex, inside))
	replace := func(text, old, new string) string { return strings.Replace(text, old, new, 1) }
	manifest := func(m string) []member {
		return oci(index(describe("", m)), blob(p.layer), blob(p.config), blob(m))
	}
	var said strings.Builder
	for _, c := range []struct {
		name    string
		archive []byte
	}{
		{"nothing", nil},
		{"an empty tar file", pack(t)},
		{"no tar file", bytes.Repeat([]byte("no tar file"), 100)},
		{"cut off", pack(t, oci(p.index, whole...)...)[:2000]},
		{"gzip, cut off", packed(t, pack(t, oci(p.index, whole...)...), gzipped)[:200]},
		{"a root file system", []byte(p.layer)},
		{"a name twice", pack(t, layer, layer, config, docker("config.json", tagged, "layer.tar"))},
		{"a name twice, written otherwise", pack(t, layer, link(tar.TypeSymlink, "./x/../layer.tar", "x"))},
		{"a device", pack(t, link(tar.TypeChar, "null", ""))},
		{"a FIFO", pack(t, link(tar.TypeFifo, "fifo", ""))},
		{"a link to the host", pack(t, link(tar.TypeSymlink, "layer.tar", "/etc/passwd"), config, docker("config.json", tagged, "layer.tar"))},
		{"a hard link to the host", pack(t, link(tar.TypeLink, "layer.tar", "../../../etc/passwd"), config, docker("config.json", tagged, "layer.tar"))},
		{"a link to a link", pack(t, layer, link(tar.TypeSymlink, "b", "layer.tar"), link(tar.TypeSymlink, "a", "b"), config, docker("config.json", tagged, "a"))},
		{"a link to itself", pack(t, link(tar.TypeSymlink, "a", "a"), config, docker("config.json", tagged, "a"))},
		{"a layer of the host", pack(t, config, docker("config.json", tagged, "../../../etc/passwd"))},
		{"a configuration of the host", pack(t, layer, docker("/etc/hostname", tagged, "layer.tar"))},
		{"a name that is none", pack(t, layer, config, docker("config.json", `["../../etc"]`, "layer.tar"))},
		{"no layers", pack(t, config, file("manifest.json", `[{"Config":"config.json","RepoTags":["demo:1"],"Layers":[]}]`))},
		{"more layers than diff_ids", pack(t, layer, config, docker("config.json", tagged, "layer.tar", "layer.tar"))},
		{"another layer than the diff_id says", pack(t, file("layer.tar", string(tarOf(t))), config, docker("config.json", tagged, "layer.tar"))},
		{"manifest.json that is no list", pack(t, layer, config, file("manifest.json", `{}`))},
		{"a manifest.json that is too large", pack(t, file("manifest.json", strings.Repeat(" ", image.MaxJSON+1)))},
		{"a configuration that is too large", pack(t, layer, file("config.json", p.config+strings.Repeat(" ", image.MaxJSON)), docker("config.json", tagged, "layer.tar"))},
		{"an index of nothing", pack(t, oci(`[]`, whole...)...)},
		{"a manifest that is missing", pack(t, oci(p.index, whole[:2]...)...)},
		{"a layer that is missing", pack(t, oci(p.index, whole[1:]...)...)},
		{"a blob under another's name", pack(t, oci(p.index, whole[0], whole[1], file("blobs/sha256/"+digest.FromString(p.manifest).Encoded(), p.manifest+" "))...)},
		{"a digest that is a path", pack(t, manifest(replace(p.manifest, digest.FromString(p.layer).String(), "sha256:../../../../etc/passwd"))...)},
		{"a digest in the index that is a path", pack(t, oci(replace(p.index, "sha256:", "sha256:../../"), whole...)...)},
		{"a size that is wrong", pack(t, manifest(replace(p.manifest, fmt.Sprintf(`"size":%d`, len(p.layer)), `"size":7`))...)},
		{"a size below zero", pack(t, manifest(replace(p.manifest, fmt.Sprintf(`"size":%d`, len(p.layer)), `"size":-7`))...)},
		{"a manifest and an index in one", pack(t, manifest(replace(p.manifest, `"layers"`, `"manifests":[],"layers"`))...)},
		{"a manifest that says it is an index", pack(t, oci(replace(p.index, ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex), whole...)...)},
		{"an index in an index in the index", pack(t, oci(index(describe(ocispec.MediaTypeImageIndex, outer)), slices.Concat(whole, []member{blob(inside), blob(outer)})...)...)},
		{"another platform only", pack(t, oci(index(describe(ocispec.MediaTypeImageIndex, index(`{"digest":"`+someDigest+`","size":1,"platform":{"os":"plan9","architecture":"mips"}}`))),
			blob(index(`{"digest":"`+someDigest+`","size":1,"platform":{"os":"plan9","architecture":"mips"}}`)))...)},
		{"no container image", pack(t, manifest(replace(p.manifest, ocispec.MediaTypeImageConfig, "application/vnd.cncf.helm.config.v1+json"))...)},
		{"the second image is bad", pack(t, layer, config, file("other.tar", string(tarOf(t))), file("manifest.json",
			`[{"Config":"config.json","RepoTags":["demo:1"],"Layers":["layer.tar"]},{"Config":"config.json","RepoTags":["demo:2"],"Layers":["other.tar"]}]`))},
		{"a thousand names and one", pack(t, layer, config, docker("config.json", `["demo:1"`+strings.Repeat(`,"demo:1"`, 1000)+`]`, "layer.tar"))},
		{"a sparse file", sparseArchive(t)},
	} {
		s, got, err := loaded(t, c.archive)
		if err == nil {
			t.Errorf("%s: loaded %s", c.name, got)
			continue
		}
		if n := names(t, s); len(n) > 0 {
			t.Errorf("%s: there are names: %q", c.name, n)
		}
		fmt.Fprintf(&said, "# %s\n%v\n", c.name, err)
		if h := hint.Of(err); h != "" {
			fmt.Fprintf(&said, "hint: %s\n", h)
		}
	}
	testkit.Golden(t, said.String(), "hostile.golden")
}

// sparseArchive is a file of a terabyte in a few hundred bytes: CVE-2025-58183.
func sparseArchive(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range []member{
		{tar.Header{Typeflag: tar.TypeXHeader, Name: "PaxHeaders.0/bomb", Format: tar.FormatUSTAR}, ""},
		{tar.Header{Typeflag: tar.TypeReg, Name: "bomb", Mode: 0o644, Format: tar.FormatUSTAR}, "1\n1099511627776\n0\n"},
	} {
		if m.Typeflag == tar.TypeXHeader {
			for _, record := range []string{"GNU.sparse.major=1\n", "GNU.sparse.minor=0\n", "GNU.sparse.name=bomb\n", "GNU.sparse.realsize=1099511627776\n"} {
				m.content += fmt.Sprintf("%d %s", len(record)+3, record)
			}
		} else {
			m.content += strings.Repeat("\x00", 512-len(m.content))
		}
		header := make([]byte, 512)
		copy(header, m.Name)
		copy(header[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        %c", 0o644, 0, 0, len(m.content), 0, m.Typeflag))
		copy(header[257:], "ustar\x0000")
		sum := 0
		for _, c := range header {
			sum += int(c)
		}
		copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(header)
		b.WriteString(m.content)
		b.Write(make([]byte, (512-len(m.content)%512)%512))
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func TestLoadingEndsWithTheContext(t *testing.T) {
	testkit.HostUnchanged(t)
	s, _, _ := open(t)
	p := newParts(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	archive := pack(t, blob(p.layer), blob(p.config), blob(p.manifest), file("index.json", p.index))
	if _, err := s.Load(ctx, bytes.NewReader(archive), ocispec.Platform{}); !errors.Is(err, interrupted) {
		t.Error(err)
	}
}
