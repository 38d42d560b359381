package image

// An Ingest is a writer's stay in the store: a folder tmp/<writer>/ in which
// blobs and layers are made before rename(2) puts them in place. The writer
// holds a lock (flock(2)) on that folder, so others see that it is alive: a
// folder that can be locked belongs to nobody, and is removed.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// ErrDigest and ErrSize say that content is not what its descriptor announced.
var (
	ErrDigest = errors.New("digest mismatch")
	ErrSize   = errors.New("size mismatch")
)

// Ingest writes one image. Until it is closed Collect leaves the blobs and
// layers alone that no reference names yet. Its methods may be called from
// several goroutines at once, except Close.
type Ingest struct {
	store *Store
	dir   string
	file  *os.File // dir itself, locked
	wrote atomic.Bool

	flushing atomic.Bool
	flushes  sync.WaitGroup
}

// Ingest begins to write. The caller closes it, whatever the outcome.
func (s *Store) Ingest(ctx context.Context) (*Ingest, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.ingest()
}

// ingest makes and locks the folder. The caller holds the store's lock: nobody
// may see the folder before it is locked.
func (s *Store) ingest() (*Ingest, error) {
	dir, err := os.MkdirTemp(s.path("tmp"), "")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if locked, err := tryLock(f); !locked {
		f.Close()
		return nil, fmt.Errorf("lock %q: %w", dir, errors.Join(err, unix.EWOULDBLOCK))
	}
	return &Ingest{store: s, dir: dir, file: f}, nil
}

// Close removes what is unfinished. It may be called on nil, and twice.
func (in *Ingest) Close() error {
	if in == nil || in.file == nil {
		return nil
	}
	in.flushes.Wait()
	err := errors.Join(os.RemoveAll(in.dir), in.file.Close())
	in.file = nil
	return err
}

// Blob stores the content that d describes, which open opens, unless it is
// there already: then open is not called and fetched is false. When two
// writers want one blob, one fetches it and the other waits.
//
// Content of another size or digest than d says is not stored; the error
// is an ErrSize or ErrDigest.
func (in *Ingest) Blob(
	ctx context.Context, d ocispec.Descriptor, open func() (io.ReadCloser, error),
) (fetched bool, err error) {
	path, err := in.store.addressed("blobs", d.Digest)
	if err != nil {
		return false, err
	}
	unlock, err := in.store.lockPiece(ctx, "blob", d.Digest)
	if err != nil {
		return false, err
	}
	defer unlock()
	if whole(path, d) {
		return false, nil
	}
	content, err := open()
	if err != nil {
		return false, err
	}
	defer content.Close()
	f, err := os.CreateTemp(in.dir, "blob-")
	if err != nil {
		return false, err
	}
	err = errors.Join(copyVerified(f, content, d), f.Close())
	if err != nil {
		return false, roomHint(errors.Join(err, os.Remove(f.Name())))
	}
	in.wrote.Store(true)
	return true, rename(f.Name(), path)
}

// whole tells whether the blob at path is there. What is small is read again,
// so that a damaged manifest or configuration is mended by the next pull; a
// damaged layer is found when it is unpacked.
func whole(path string, d ocispec.Descriptor) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	if d.Size <= MaxJSON {
		return copyVerified(io.Discard, f, d) == nil
	}
	info, err := f.Stat()
	return err == nil && info.Size() == d.Size
}

// copyVerified copies what d describes and not a byte more.
func copyVerified(w io.Writer, r io.Reader, d ocispec.Descriptor) error {
	v := verify(r, d)
	_, err := io.Copy(w, v)
	return v.verdict(err)
}

// flush begins to bring to the disk what was written so far, so that there is
// less to wait for in Commit. An error comes again there.
func (in *Ingest) flush() {
	if !in.flushing.CompareAndSwap(false, true) {
		return // one is under way
	}
	in.flushes.Go(func() {
		_ = syncAll(in.store.dir)
		in.flushing.Store(false)
	})
}

// Commit makes ref name the image whose manifest d describes, and returns it.
// Its blobs and layers are in place. Before the name is written all of it is
// brought to the disk: an image that has a name is whole, after a power cut too.
func (in *Ingest) Commit(ctx context.Context, ref string, d ocispec.Descriptor) (*Image, error) {
	full, err := Normalize(ref)
	if err != nil {
		return nil, err
	}
	img, err := in.store.load(full, d)
	if err != nil {
		return nil, err
	}
	entry := ocispec.Descriptor{
		MediaType:   d.MediaType,
		Digest:      d.Digest,
		Size:        d.Size,
		Platform:    &img.Config.Platform,
		Annotations: map[string]string{ocispec.AnnotationRefName: full},
	}
	return img, in.name(ctx, entry)
}

// name puts an entry into the index, in place of the one of the same name.
func (in *Ingest) name(ctx context.Context, entry ocispec.Descriptor) error {
	full := entry.Annotations[ocispec.AnnotationRefName]
	index, err := in.store.index()
	if err != nil {
		return err
	}
	i := find(index, full)
	if i >= 0 && index.Manifests[i].Digest == entry.Digest && !in.wrote.Load() {
		return nil // pulled again: nothing has changed, and nothing was mended
	}
	if err := syncAll(in.store.dir); err != nil {
		return err
	}
	return in.store.changeIndex(ctx, func(index *ocispec.Index) error {
		if i := find(index, full); i >= 0 {
			index.Manifests = slices.Delete(index.Manifests, i, i+1)
		}
		index.Manifests = append(index.Manifests, entry)
		return nil
	})
}

// lockPiece waits for the lock on one blob or one layer. Collect removes the
// lock files, and only when there is no writer.
func (s *Store) lockPiece(ctx context.Context, kind string, d digest.Digest) (unlock func(), err error) {
	return lockFile(ctx, s.path("locks", fmt.Sprintf("%s-%s-%s", kind, d.Algorithm(), d.Encoded())))
}

// rename puts a finished file or folder in place. The folder above is named
// after the hash algorithm and may not be there yet.
func rename(from, to string) error {
	if err := privateFolder(filepath.Dir(to)); err != nil {
		return err
	}
	return roomHint(os.Rename(from, to))
}

// roomHint adds the hint to what a full disk says.
func roomHint(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return hint.Add(err, "make room on the file system of the image store")
	}
	return err
}
