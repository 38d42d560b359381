package image

// Archives: images in a tar file, as they travel without a registry. There are two
// kinds. An OCI archive is an image layout (image-spec image-layout.md) in a tar
// file; a docker archive, of docker save, has a manifest.json that names each
// image's configuration and layers by their paths in the archive.
//
// An archive is read once, from its beginning to its end, for it may come through a
// pipe; what it is about, index.json or manifest.json, often comes last. So each
// file is stored under what it hashes to while it arrives, and the names are only
// words by which the files of an archive speak of each other: none of them becomes
// a path here, whatever it says (CVE-2024-3727, CVE-2019-14271's kin).

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage04-overlay/layer"
)

// dockerManifestFile says what is in a docker archive.
const dockerManifestFile = "manifest.json"

// containerdName is the annotation in which containerd, and docker since 25, keep
// the full name of an image; their ref.name is only its tag.
const containerdName = "io.containerd.image.name"

// maxArchiveFiles limits the entries of an archive: 2,000 images of 30 layers.
const maxArchiveFiles = 1 << 16

// maxArchiveImages limits the names in an archive: each is a change of the index.
const maxArchiveImages = 1000

// dockerImage is an element of manifest.json: paths in the archive, and names.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// archive is one that is being read.
type archive struct {
	in    *Ingest
	files map[string]ocispec.Descriptor // by name; with size and digest of the content
	links map[string]string             // docker save before 25 has equal layers once, and links to them
	bytes int64                         // that may still come
}

// Load reads the images of an archive, compressed or not, and gives each the names
// that the archive says; one without a name can be found by its digest. Of an image
// for several platforms it takes the one for want (empty: the host's).
//
// A file that is there twice, a link to anything but a file of the archive, more
// than layer.DefaultMaxBytes, JSON of more than MaxJSON bytes: all are errors, after
// which no image of the archive has a name.
func (s *Store) Load(ctx context.Context, r io.Reader, want ocispec.Platform) (loaded []*Image, err error) {
	in, err := s.Ingest(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	a := &archive{in: in, files: map[string]ocispec.Descriptor{}, links: map[string]string{}, bytes: layer.DefaultMaxBytes}
	if err := a.read(interruptible{ctx, r}); err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	named, err := a.images(want)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	if len(named) > maxArchiveImages {
		return nil, fmt.Errorf("archive: %d names; the limit is %d", len(named), maxArchiveImages)
	}
	for _, n := range named {
		if err := in.unpackLayers(ctx, n.manifest); err != nil {
			return nil, fmt.Errorf("archive: image %q: %w", cmp.Or(n.name, n.manifest.Digest.String()), err)
		}
	}
	for _, n := range named { // all are whole
		img, err := in.give(ctx, n.name, n.manifest)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, img)
	}
	return loaded, nil
}

// interruptible is a reader that fails when its context has ended.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// read stores all files of the archive.
func (a *archive) read(r io.Reader) error {
	plain, err := uncompressedArchive(r)
	if err != nil {
		return err
	}
	defer plain.Close()
	t := tar.NewReader(plain)
	for range maxArchiveFiles {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath): // no name becomes a path
			return hint.Add(err, "an archive is what docker save, podman save or skopeo copy write")
		}
		if err := a.entry(h, t); err != nil {
			err = fmt.Errorf("%q: %w", h.Name, err)
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = hint.Add(err, "the archive is cut off; copy or save it again")
			}
			return err
		}
	}
	return fmt.Errorf("more than %d files", maxArchiveFiles)
}

// uncompressedArchive looks at the first bytes: docker save | gzip is common.
func uncompressedArchive(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 1<<18)
	begin, _ := buffered.Peek(4) // of a shorter one tar finds out
	switch sniff(begin) {
	case gzipped:
		return gzip.NewReader(buffered)
	case zstandard:
		z, err := zstd.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(buffered), nil
}

// sniff tells the compression by the first four bytes: RFC 1952 and RFC 8878.
func sniff(begin []byte) compression {
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	}
	return uncompressed
}

// entry stores one entry of the archive.
func (a *archive) entry(h *tar.Header, r io.Reader) error {
	name := cleanName(h.Name)
	_, file := a.files[name]
	if _, link := a.links[name]; file || link {
		return errors.New("it is there twice, and could mean two things")
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return errors.New("sparse files are refused: a few bytes would become any number (CVE-2025-58183)")
		}
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink:
		a.links[name] = cleanName(path.Join(path.Dir(name), h.Linkname))
		return nil
	case tar.TypeLink:
		a.links[name] = cleanName(h.Linkname)
		return nil
	case tar.TypeReg:
	default:
		return fmt.Errorf("entries of type %q do not belong into an archive of images", h.Typeflag)
	}
	if a.bytes -= h.Size; h.Size < 0 || a.bytes < 0 {
		return fmt.Errorf("with it there are more than %d bytes", int64(layer.DefaultMaxBytes))
	}
	d, err := a.put(r, algorithmOf(name))
	a.files[name] = d
	return err
}

// cleanName writes the same name in one way only. It cannot lead out of "/".
func cleanName(name string) string { return path.Clean("/" + name) }

// algorithmOf is how the content of a file is hashed: as its name says, if it is
// one of an image layout (blobs/sha512/…), else by SHA-256.
func algorithmOf(name string) digest.Algorithm {
	if parts := strings.Split(name, "/"); len(parts) == 4 && parts[1] == "blobs" && digest.Algorithm(parts[2]).Available() {
		return digest.Algorithm(parts[2])
	}
	return digest.SHA256
}

// put writes content into the folder of the writer, under what it hashes to.
func (a *archive) put(r io.Reader, algorithm digest.Algorithm) (d ocispec.Descriptor, err error) {
	f, err := os.CreateTemp(a.in.dir, "file-")
	if err != nil {
		return d, err
	}
	digester := algorithm.Digester()
	d.Size, err = io.Copy(io.MultiWriter(f, digester.Hash()), r)
	d.Digest = digester.Digest()
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), a.file(d))
	}
	return d, roomHint(err)
}

// file is where put has put the content that d describes.
func (a *archive) file(d ocispec.Descriptor) string {
	return filepath.Join(a.in.dir, d.Digest.Algorithm().String()+"-"+d.Digest.Encoded())
}

// find returns what a name of the archive means; a link is followed once.
func (a *archive) find(name string) (d ocispec.Descriptor, there bool) {
	name = cleanName(name)
	if to, ok := a.links[name]; ok {
		name = to
	}
	d, there = a.files[name]
	return d, there
}

// json reads a file of the archive.
func (a *archive) json(name string, into any) (there bool, err error) {
	d, there := a.find(name)
	if !there {
		return false, nil
	}
	raw, err := readBounded(a.file(d))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return true, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

// keep makes what d describes a blob of the store. d is somebody's word: the file
// must be in the archive, with that digest and that size.
func (a *archive) keep(d ocispec.Descriptor) error {
	to, err := a.in.store.addressed("blobs", d.Digest)
	if err != nil {
		return err
	}
	info, err := os.Lstat(a.file(d))
	switch {
	case err != nil:
		return fmt.Errorf("nothing in it hashes to %s", d.Digest)
	case info.Size() != d.Size:
		return fmt.Errorf("%w: %s has %d bytes, and the manifest says %d", ErrSize, Short(d.Digest), info.Size(), d.Size)
	}
	if whole(to, d) {
		return nil // linked files are needed twice, so the first stays where it is
	}
	a.in.wrote.Store(true)
	if err := privateFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // what is there is damaged
	}
	return os.Link(a.file(d), to)
}

// named is an image of the archive, whose blobs are in the store.
type named struct {
	name     string // in full, or ""
	manifest ocispec.Descriptor
}

// images finds the images of the archive. docker writes archives that are of both
// kinds since version 25, and so do we: then index.json is right, for it has digests.
func (a *archive) images(want ocispec.Platform) ([]named, error) {
	if want.OS == "" {
		want = HostPlatform()
	}
	var index ocispec.Index
	var images []dockerImage
	isOCI, err := a.json(ocispec.ImageIndexFile, &index)
	if err == nil && !isOCI {
		_, err = a.json(dockerManifestFile, &images)
	}
	switch {
	case err != nil:
		return nil, err
	case len(index.Manifests) > 0:
		return a.ociImages(index, want)
	case len(images) > 0:
		return a.dockerImages(images)
	}
	return nil, hint.Add(fmt.Errorf("neither %s nor %s in it names an image", ocispec.ImageIndexFile, dockerManifestFile),
		"an archive is what docker save, podman save or skopeo copy write; a root file system alone is no image")
}

// ociImages finds the images of an OCI archive.
func (a *archive) ociImages(index ocispec.Index, want ocispec.Platform) (all []named, err error) {
	for _, d := range index.Manifests {
		name := d.Annotations[containerdName]
		if name == "" {
			name = d.Annotations[ocispec.AnnotationRefName]
		}
		if name != "" {
			if name, err = Normalize(name); err != nil {
				return nil, err
			}
		}
		manifest, err := a.manifest(d, want)
		if err != nil {
			return nil, fmt.Errorf("image %q: %w", cmp.Or(name, d.Digest.String()), err)
		}
		all = append(all, named{name, manifest})
	}
	return all, nil
}

// manifest keeps the blobs of the manifest d, or of the one for the wanted platform
// of the index d. An index inside that index is refused, as Pull does.
func (a *archive) manifest(d ocispec.Descriptor, want ocispec.Platform) (ocispec.Descriptor, error) {
	for depth := range 2 {
		if err := checkDescriptor(d, MaxJSON); err != nil {
			return d, err
		}
		if err := a.keep(d); err != nil {
			return d, err
		}
		raw, err := a.in.store.ReadJSON(d)
		if err != nil {
			return d, err
		}
		kind, isIndex, err := Kind(raw, d.MediaType)
		if err != nil {
			return d, err
		}
		if !isIndex {
			m, err := ParseManifest(raw)
			if err != nil {
				return d, err
			}
			return ocispec.Descriptor{MediaType: kind, Digest: d.Digest, Size: d.Size}, a.keepAll(m)
		}
		if depth == 0 {
			index, err := ParseIndex(raw)
			if err != nil {
				return d, err
			}
			if d, err = Choose(index, want); err != nil {
				return d, err
			}
		}
	}
	return d, fmt.Errorf("manifest %s: it is an index inside an index", Short(d.Digest))
}

// keepAll keeps what a manifest names.
func (a *archive) keepAll(m *ocispec.Manifest) error {
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if err := a.keep(d); err != nil {
			return err
		}
	}
	return nil
}

// dockerImages finds the images of a docker archive, and writes the manifests that
// such an archive lacks.
func (a *archive) dockerImages(images []dockerImage) (all []named, err error) {
	for _, i := range images {
		manifest, err := a.dockerImage(i)
		if err != nil {
			return nil, fmt.Errorf("image %q: %w", i.RepoTags, err)
		}
		names := []string{""}
		if len(i.RepoTags) > 0 {
			names = i.RepoTags
		}
		for _, name := range names {
			if name != "" {
				if name, err = Normalize(name); err != nil {
					return nil, err
				}
			}
			all = append(all, named{name, manifest})
		}
	}
	return all, nil
}

// dockerImage writes the manifest of one image.
func (a *archive) dockerImage(i dockerImage) (d ocispec.Descriptor, err error) {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, name := range append([]string{i.Config}, i.Layers...) {
		f, there := a.find(name)
		if !there {
			return d, fmt.Errorf("%s names %q, which is not there", dockerManifestFile, name)
		}
		m.Layers = append(m.Layers, f)
	}
	m.Config, m.Layers = m.Layers[0], m.Layers[1:]
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for i := range m.Layers {
		if m.Layers[i].MediaType, err = layerType(a.file(m.Layers[i])); err != nil {
			return d, err
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return d, err
	}
	if _, err := ParseManifest(raw); err != nil {
		return d, err
	}
	if d, err = a.put(bytes.NewReader(raw), digest.SHA256); err != nil {
		return d, err
	}
	d.MediaType = m.MediaType
	return d, errors.Join(a.keep(d), a.keepAll(&m))
}

// layerType tells the media type of a layer by its first bytes; docker archives do
// not say it.
func layerType(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var begin [4]byte
	n, err := io.ReadFull(f, begin[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch sniff(begin[:n]) {
	case gzipped:
		return ocispec.MediaTypeImageLayerGzip, nil
	case zstandard:
		return ocispec.MediaTypeImageLayerZstd, nil
	}
	return ocispec.MediaTypeImageLayer, nil
}
