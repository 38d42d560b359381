package image

// Checking the whole store, and removing what is wrong in it. A name in the store is
// a promise: that the content hashes to it, that all that an image needs is there,
// that an unpacked layer is what its blob unpacks to. Check asks whether each promise
// holds; a disk that rots, a hand that slipped or another tool may have broken it.
//
// Repairing makes again what blobs can be made into, and removes what else is wrong;
// the next pull then fetches it, since it asks for what is not there.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Problem is something that is wrong in a store.
type Problem struct {
	Where    string // a path below the store, or an image
	Err      error  // what is wrong
	Repaired bool
	Removed  bool // Repaired by taking away what cannot be made again

	remedy remedy
}

// remedy does something about a problem, and tells whether that was to remove it.
type remedy func(*bin) (removed bool, err error)

// CheckOptions say what Check does.
type CheckOptions struct {
	Repair bool
	// Used are the manifests of images that containers run on: their unpacked
	// layers are not removed, whatever is wrong with them.
	Used []digest.Digest
}

// Check looks at every file of the store:
//
//   - each folder is closed to others (CVE-2021-41103), and nothing strange lies in it;
//   - each blob hashes to its name;
//   - all that each image of the index needs is there, with the size that it says;
//   - each unpacked layer of an image is what its blob unpacks to: see compare.go.
//
// With Repair it unpacks damaged layers again, and removes stray files, damaged blobs,
// and the names of images that are not whole. It is an error to repair while somebody
// writes to the store or holds a lease.
//
// It needs as much room as the largest layer, and root, as Unpack does. The problems
// are in the order in which they were found; an error says that the check failed.
func (s *Store) Check(ctx context.Context, o CheckOptions) (problems []Problem, err error) {
	in, err := s.Ingest(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	c := &checker{store: s, in: in, ctx: ctx, bad: map[string]bool{}, gone: map[string]bool{}}
	for _, step := range []func() error{c.folders, c.blobs, c.images, c.layers} {
		if err := step(); err != nil {
			return c.problems, fmt.Errorf("check %q: %w", s.dir, err)
		}
	}
	if o.Repair {
		if err := c.repair(o.Used); err != nil {
			return c.problems, fmt.Errorf("repair %q: %w", s.dir, err)
		}
	}
	return c.problems, nil
}

// checker is a check under way. It is a writer, so that nobody collects meanwhile.
type checker struct {
	store    *Store
	in       *Ingest
	ctx      context.Context
	problems []Problem
	bad      map[string]bool // paths of blobs that are damaged, and of layers that are missing
	chains   []checkedLayer  // of whole images, each blob once, those below first

	gone map[string]bool // repairing: the images that lose their names, see imageName
	used map[string]bool // repairing: paths that containers need
}

// checkedLayer is a layer, and the images that have it.
type checkedLayer struct {
	Layer
	images []string // see imageName
}

// found notes a problem and what to do about it.
func (c *checker) found(where string, err error, remedy remedy) {
	c.problems = append(c.problems, Problem{Where: where, Err: err, remedy: remedy})
}

// removeIt is the remedy for a file that has no business in the store.
func (c *checker) removeIt(name string) remedy {
	return func(b *bin) (bool, error) { return true, b.take(c.store.path(name)) }
}

// stray notes a file that no part of the store has made.
func (c *checker) stray(name string) {
	c.found(name, errors.New("nothing of the store has this name"), c.removeIt(name))
}

// folders looks at the names in the store, and at who may enter.
func (c *checker) folders() error {
	entries, err := os.ReadDir(c.store.dir)
	if err != nil {
		return err
	}
	folders := []string{"blobs", "layers", "locks", "partial", "tmp"}
	known := append([]string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile, "lock", "held", "boot"}, folders...)
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			c.stray(e.Name())
		}
	}
	for _, name := range append([]string{"."}, folders...) {
		info, err := os.Lstat(c.store.path(name))
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			c.found(name, fmt.Errorf("mode %#o: others of this host could run its set-user-ID programs", info.Mode().Perm()),
				func(*bin) (bool, error) { return false, os.Chmod(c.store.path(name), 0o700) })
		}
	}
	return nil
}

// each calls do for everything in blobs or layers that is named by a digest and of the
// wanted kind; what is not is a problem.
func (c *checker) each(kind string, folder bool, do func(name, path string, d digest.Digest) error) error {
	algorithms, err := os.ReadDir(c.store.path(kind))
	if err != nil {
		return err
	}
	for _, a := range algorithms {
		entries, err := os.ReadDir(c.store.path(kind, a.Name()))
		if err != nil {
			c.stray(filepath.Join(kind, a.Name()))
			continue
		}
		for _, e := range entries {
			name := filepath.Join(kind, a.Name(), e.Name())
			d := digest.NewDigestFromEncoded(digest.Algorithm(a.Name()), e.Name())
			if d.Validate() != nil || e.IsDir() != folder || !folder && !e.Type().IsRegular() {
				c.stray(name)
				continue
			}
			if err := do(name, c.store.path(name), d); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// blobs hashes every blob.
func (c *checker) blobs() error {
	return c.each("blobs", false, func(name, path string, d digest.Digest) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		digester := d.Algorithm().Digester()
		if _, err := io.Copy(digester.Hash(), interruptible{c.ctx, f}); err != nil {
			return err
		}
		if got := digester.Digest(); got != d {
			c.bad[path] = true
			c.found(name, fmt.Errorf("damaged: its content is %s", Short(got)), c.removeIt(name))
		}
		return nil
	})
}

// images looks at all that each image of the index needs.
func (c *checker) images() error {
	index, err := c.store.index()
	if err != nil {
		return hint.Add(err, "the index is what says which images there are: restore it, or begin with a new store")
	}
	seen := map[string]bool{}
	for _, d := range index.Manifests {
		where := imageName(d)
		if seen[where] {
			c.found(where, errors.New("it is in the index twice"), func(*bin) (bool, error) { return false, nil }) // see forget
		}
		seen[where] = true
		layers, err := c.image(d)
		if err != nil {
			c.found(where, err, func(*bin) (bool, error) { c.gone[where] = true; return true, nil })
			continue
		}
		for _, l := range layers {
			i := slices.IndexFunc(c.chains, func(have checkedLayer) bool {
				return have.ChainID == l.ChainID && have.Blob.Digest == l.Blob.Digest
			})
			if i < 0 {
				i, c.chains = len(c.chains), append(c.chains, checkedLayer{Layer: l})
			}
			c.chains[i].images = append(c.chains[i].images, where)
		}
	}
	return nil
}

// image returns the layers of an image all of whose blobs are there.
func (c *checker) image(d ocispec.Descriptor) (layers []Layer, err error) {
	if err := checkDescriptor(d, MaxJSON); err != nil {
		return nil, err
	}
	m, err := c.store.manifest(d)
	if err != nil {
		return nil, err
	}
	for _, b := range slices.Concat([]ocispec.Descriptor{d, m.Config}, m.Layers) {
		path, err := c.store.addressed("blobs", b.Digest)
		if err != nil {
			return nil, err
		}
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("blob %s is missing", Short(b.Digest))
		case err != nil:
			return nil, err
		case c.bad[path]:
			return nil, fmt.Errorf("blob %s is damaged", Short(b.Digest))
		case info.Size() != b.Size:
			return nil, fmt.Errorf("blob %s: %w: %d bytes, and its descriptor says %d", Short(b.Digest), ErrSize, info.Size(), b.Size)
		}
	}
	config, err := c.store.config(d)
	if err != nil {
		return nil, err
	}
	var lower []string
	for i, chain := range ChainIDs(config) {
		layers = append(layers, Layer{Blob: m.Layers[i], DiffID: config.RootFS.DiffIDs[i], ChainID: chain, Lower: lower})
		dir, err := c.store.addressed("layers", chain)
		if err != nil {
			return nil, err
		}
		lower = append([]string{dir}, lower...)
	}
	return layers, nil
}

// layers compares the unpacked layers with their blobs. One that no image needs is
// nobody's promise; Collect removes it.
func (c *checker) layers() error {
	if err := c.each("layers", true, func(string, string, digest.Digest) error { return nil }); err != nil {
		return err
	}
	for _, l := range c.chains {
		dir, err := c.store.addressed("layers", l.ChainID)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.store.dir, dir)
		if err != nil {
			return err
		}
		_, err = os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = errMissing
		case err == nil && !slices.ContainsFunc(l.Lower, func(lower string) bool { return c.bad[lower] }):
			// Not above a layer that is missing: what this one takes from there, the
			// times of directories for example, is compared by a later check.
			err = c.compare(dir, l.Layer)
		}
		switch {
		case c.ctx.Err() != nil:
			return context.Cause(c.ctx)
		case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOSPC):
			return fmt.Errorf("%s: %w", name, err)
		case err != nil:
			c.bad[dir] = errors.Is(err, errMissing)
			c.found(name, err, c.unpackAgain(name, dir, l, err))
		}
	}
	return nil
}

// compare unpacks a layer again and compares.
func (c *checker) compare(dir string, l Layer) (err error) {
	again, err := os.MkdirTemp(c.in.dir, "check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(again)) }()
	if err := c.in.unpackInto(c.ctx, again, l); err != nil {
		return err
	}
	return sameTree(dir, again)
}

// errMissing is what is wrong with an unpacked layer that is not there.
var errMissing = errors.New("an image needs it, and it is not there")

// errUsed is why a damaged layer stays.
var errUsed = errors.New("a container runs on it: end that, and repair again")

// unpackAgain is the remedy for a layer. If its blob is not one that unpacks to it,
// the images that say so are not whole.
func (c *checker) unpackAgain(name, dir string, l checkedLayer, wrong error) remedy {
	return func(b *bin) (bool, error) {
		if c.used[dir] {
			return false, errUsed
		}
		if errors.Is(wrong, errDifferent) {
			wrong = b.take(c.store.path(name))
		}
		if wrong == nil || errors.Is(wrong, errMissing) || errors.Is(wrong, fs.ErrNotExist) {
			_, _, wrong = c.in.Unpack(c.ctx, l.Layer)
		}
		if wrong != nil {
			for _, where := range l.images {
				c.gone[where] = true
			}
		}
		return wrong != nil, nil
	}
}

// repair applies the remedies, under the store's lock, alone.
func (c *checker) repair(used []digest.Digest) error {
	unlock, err := c.store.lock(c.ctx)
	if err != nil {
		return err
	}
	defer unlock()
	b := &bin{store: c.store, trash: c.in}
	if err := b.abandoned(); err != nil {
		return err
	}
	release, err := c.store.tryHeld()
	if err != nil {
		return err
	}
	if release != nil {
		defer release()
	}
	if release == nil || b.Writers > 1 { // this is one
		return hint.Add(errors.New("somebody else is at work in the store"), "try again when no pull and no run is under way")
	}
	needed := reached{store: c.store, paths: map[string]bool{}}
	for _, d := range used {
		if err := needed.manifest(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c.used = needed.paths
	for i := range c.problems {
		p := &c.problems[i]
		p.Removed, err = p.remedy(b)
		if p.Repaired = err == nil; !p.Repaired {
			p.Err = fmt.Errorf("%w (%w)", p.Err, err)
		}
	}
	return c.forget()
}

// forget takes the images that are not whole out of the index, so that who wants one
// does not find it and pulls it, and what is there twice.
func (c *checker) forget() error {
	index, err := c.store.index()
	if err != nil {
		return err
	}
	before, seen := len(index.Manifests), map[string]bool{}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		where := imageName(d)
		twice := seen[where]
		seen[where] = true
		return c.gone[where] || twice
	})
	if len(index.Manifests) == before {
		return nil
	}
	return writeJSON(c.store.path(ocispec.ImageIndexFile), index)
}

// imageName is what a problem calls an entry of the index.
func imageName(d ocispec.Descriptor) string {
	return fmt.Sprintf("image %q", cmp.Or(d.Annotations[ocispec.AnnotationRefName], d.Digest.String()))
}
