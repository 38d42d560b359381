package image

// Collecting garbage: what no image of the index reaches is removed. Reaching
// goes index.json → (index →) manifest → configuration and layers' blobs, and
// configuration → ChainIDs → unpacked layers.
//
// What is to go is first renamed into a folder of the collector, under the
// store's lock, and then removed without it. So the lock is held for a short
// time however much there is to remove, and a collector that is killed leaves
// one more abandoned folder under tmp/.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
)

// Collected says what Collect did.
type Collected struct {
	Blobs     int  // removed
	Layers    int  // unpacked layers removed
	Abandoned int  // folders of killed writers removed
	Writers   int  // writers at work; while there are any, no blob and no layer is removed
	Held      bool // somebody holds a lease, see Hold: the same
}

// Collect removes what killed writers left and, when no writer is at work, each
// blob and each unpacked layer that no image of the index needs.
//
// keep names manifests (their digests) that are still needed though the index
// does not name them any more: of containers whose image was removed.
func (s *Store) Collect(keep ...digest.Digest) (Collected, error) {
	c, trash, err := s.collectLocked(keep)
	if err = errors.Join(err, trash.Close()); err != nil {
		return c, fmt.Errorf("collect %q: %w", s.dir, err)
	}
	return c, nil
}

// collectLocked moves everything that is to go into trash.
func (s *Store) collectLocked(keep []digest.Digest) (c Collected, trash *Ingest, err error) {
	unlock, err := s.lock(context.Background())
	if err != nil {
		return c, nil, err
	}
	defer unlock()
	b := bin{store: s}
	if err := b.abandoned(); err != nil {
		return b.Collected, b.trash, err
	}
	if b.Writers > 0 {
		return b.Collected, b.trash, nil
	}
	release, err := s.tryHeld()
	if b.Held = release == nil; err != nil || b.Held {
		return b.Collected, b.trash, err
	}
	defer release()
	return b.Collected, b.trash, b.unreached(keep)
}

// tryHeld makes sure that nobody holds a lease, see Hold, and that nobody gets one
// before release is called. release is nil when somebody does.
func (s *Store) tryHeld() (release func(), err error) {
	f, err := os.OpenFile(s.path("held"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if locked, err := tryLock(f); !locked {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// sweep is what Open does: it takes away what killed writers left. After a
// reboot it collects everything that the index does not reach: Commit brings an
// image to the disk before it names it, and what has no name yet may have lost
// its content in a power cut and would be taken for complete. The caller holds
// the lock, and closes trash without it.
func (s *Store) sweep() (trash *Ingest, err error) {
	b := bin{store: s}
	if err := b.abandoned(); err != nil {
		return b.trash, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // man 5 proc_sys_kernel
	if err != nil {
		return b.trash, err
	}
	last, err := os.ReadFile(s.path("boot"))
	if string(last) == string(boot) || b.Writers > 0 {
		return b.trash, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b.trash, err
	}
	if err := b.unreached(nil); err != nil {
		// An image is damaged, and what it needs is not known, so nothing was
		// taken. The store still opens: Collect tells which image it is, and
		// Remove or a new pull mends it.
		return b.trash, nil
	}
	return b.trash, writeSynced(s.path("boot"), boot)
}

// bin gathers what is to go.
type bin struct {
	store *Store
	trash *Ingest // made when there is something to put in
	moved int     // how much is in it
	Collected
}

// abandoned takes the folders of dead writers and counts the live ones.
func (b *bin) abandoned() error {
	writers, err := os.ReadDir(b.store.path("tmp"))
	if err != nil {
		return err
	}
	for _, w := range writers {
		alive, err := b.takeAbandoned(b.store.path("tmp", w.Name()))
		if err != nil {
			return err
		}
		if alive {
			b.Writers++
		}
	}
	return nil
}

// takeAbandoned takes the folder of one writer, unless it is alive.
func (b *bin) takeAbandoned(path string) (alive bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its writer has just closed it
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if locked, err := tryLock(f); !locked {
		return true, err
	}
	err = b.take(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was closed after we had opened it
	}
	b.Abandoned++
	return false, err
}

// unreached takes the blobs and layers that no image needs.
func (b *bin) unreached(keep []digest.Digest) error {
	index, err := b.store.index()
	if err != nil {
		return err
	}
	r := reached{store: b.store, paths: map[string]bool{}}
	for _, d := range index.Manifests {
		if err := r.manifest(d.Digest); err != nil {
			return hint.Add(fmt.Errorf("image %q: %w", d.Annotations[ocispec.AnnotationRefName], err),
				"remove that image, or pull it again")
		}
	}
	for _, d := range keep {
		if err := r.manifest(d); err != nil {
			return err
		}
	}
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		if err := errors.Join(
			b.takeOthers(b.store.path("blobs", algorithm.String()), r.paths, &b.Blobs),
			b.takeOthers(b.store.path("layers", algorithm.String()), r.paths, &b.Layers),
		); err != nil {
			return err
		}
	}
	// The lock files of blobs and layers, and what has arrived of blobs: there is
	// no writer, so nobody holds one or is about to.
	return errors.Join(
		b.takeOthers(b.store.path("locks"), nil, new(int)),
		b.takeOthers(b.store.path("partial"), nil, new(int)),
	)
}

// takeOthers takes what is in folder and not in keep.
func (b *bin) takeOthers(folder string, keep map[string]bool, count *int) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if keep[path] {
			continue
		}
		if err := b.take(path); err != nil {
			return err
		}
		*count++
	}
	return nil
}

// take moves path into the trash.
func (b *bin) take(path string) error {
	if b.trash == nil {
		trash, err := b.store.ingest()
		if err != nil {
			return err
		}
		b.trash = trash
	}
	b.moved++
	return os.Rename(path, filepath.Join(b.trash.dir, strconv.Itoa(b.moved)))
}

// reached are the paths of the blobs and layers that images need.
type reached struct {
	store *Store
	paths map[string]bool
}

// manifest marks a manifest or an index, and what it needs. What another tool
// has put into the layout counts as well, so this asks for less than
// ParseManifest does.
func (r reached) manifest(d digest.Digest) error {
	raw, err := r.store.ReadJSON(ocispec.Descriptor{Digest: d})
	if err != nil {
		return err
	}
	var doc struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Config    ocispec.Descriptor   `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	for _, blob := range append(doc.Layers, doc.Config, ocispec.Descriptor{Digest: d}) {
		if err := r.mark("blobs", blob.Digest); err != nil {
			return err
		}
	}
	for _, child := range doc.Manifests {
		// An index names the images of all platforms; few of them are here.
		if err := r.manifest(child.Digest); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return r.layers(doc.Config)
}

// layers marks the unpacked layers of the image with this configuration.
func (r reached) layers(d ocispec.Descriptor) error {
	if d.MediaType != ocispec.MediaTypeImageConfig && d.MediaType != dockerConfig {
		return nil
	}
	raw, err := r.store.ReadJSON(d)
	if err != nil {
		return err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	for _, chain := range ChainIDs(&config) {
		if err := r.mark("layers", chain); err != nil {
			return err
		}
	}
	return nil
}

// mark notes that the path of a digest is needed.
func (r reached) mark(kind string, d digest.Digest) error {
	if d == "" {
		return nil // an index has no configuration
	}
	path, err := r.store.addressed(kind, d)
	if err == nil {
		r.paths[path] = true
	}
	return err
}
