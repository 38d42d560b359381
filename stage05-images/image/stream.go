package image

// Streaming: a layer is verified, stored and unpacked in one pass, while it
// arrives. Each arrow is a goroutine's hand-over, so that the network, the
// decompressor and the kernel's file calls have a processor each:
//
//	registry → file partial/…, hash of the blob
//	             → decompressor, hash of the tar stream (the DiffID)
//	                 → folder tmp/<writer>/layer-…
//
// So bytes are unpacked before anybody knows that they are the right ones.
// Package layer is made for that: whatever a tar file says, nothing leaves the
// folder. And the folder and the file get their names, rename(2), only when the
// size and both hashes are right.
//
// What has arrived of a blob stays in partial/, whatever becomes of its writer.
// The next one reads that much from the disk and asks for the rest.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage04-overlay/layer"
)

// Source opens a blob from an offset on, in bytes; at that offset it may find
// nothing more. It is called once, and not at all if the blob is there.
type Source func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Piece is a layer whose blob is in the store, and which is unpacked as far as
// that goes without the layers below it. Others who want the layer wait for it.
type Piece struct {
	Fetched bool // from the source, at least in part

	in     *Ingest
	layer  Layer
	dir    string       // where the layer is going to be
	temp   string       // where it is until then; "" if it is in dir, or is not unpacked
	loose  *layer.Loose // what is left to do in temp
	unlock func()
}

// Fetch brings the blob of a layer into the store, and unpacks it on the way;
// l.Lower need not be known yet. What is there already is not fetched and not
// unpacked again. The caller settles the piece, or closes it.
//
// Content of another size or digest than l says is not kept; the error is an
// ErrSize or ErrDigest.
func (in *Ingest) Fetch(ctx context.Context, l Layer, open Source) (p *Piece, err error) {
	dir, err := in.store.addressed("layers", l.ChainID)
	if err != nil {
		return nil, err
	}
	unlock, err := in.store.lockPiece(ctx, "layer", l.ChainID)
	if err != nil {
		return nil, err
	}
	p = &Piece{in: in, layer: l, dir: dir, unlock: unlock}
	unpack := p.unpack
	if _, err := os.Lstat(dir); err == nil {
		unpack = nil
	}
	if p.Fetched, err = in.arrive(ctx, l.Blob, open, unpack); err != nil {
		return nil, roomHint(errors.Join(err, p.Close()))
	}
	return p, nil
}

// Settle puts the layer in place, above the folders lower, topmost first; they
// are settled. It returns the layer's folder; fresh says that it was not there.
func (p *Piece) Settle(ctx context.Context, lower []string) (dir string, fresh bool, err error) {
	defer func() { err = roomHint(errors.Join(err, p.Close())) }()
	if _, err := os.Lstat(p.dir); err == nil {
		return p.dir, false, nil
	}
	p.layer.Lower = lower
	err = layer.ErrInOrder
	if p.temp != "" {
		_, err = p.loose.Settle(lower)
	}
	if errors.Is(err, layer.ErrInOrder) {
		err = p.again(ctx)
	}
	if err != nil {
		return "", false, err
	}
	p.in.wrote.Store(true)
	defer p.in.flush()
	return p.dir, true, rename(p.temp, p.dir)
}

// Close gives the piece up. It may be called after Settle, and on nil.
func (p *Piece) Close() error {
	if p == nil || p.unlock == nil {
		return nil
	}
	p.unlock()
	p.unlock = nil
	if p.temp == "" {
		return nil
	}
	return os.RemoveAll(p.temp) // it is not there any more if all went well
}

// unpack makes p.temp of a blob, without the layers below it. If that cannot be
// it returns nil, and Settle begins anew.
func (p *Piece) unpack(ctx context.Context, blob io.Reader) error {
	err := p.fresh()
	if err != nil {
		return err
	}
	err = untar(ctx, blob, p.layer, func(tar io.Reader) error {
		p.loose, err = layer.ApplyLoose(p.temp, tar, layer.Options{MaxBytes: p.layer.max()})
		return err
	})
	if errors.Is(err, layer.ErrInOrder) {
		return p.discard()
	}
	return err
}

// again makes p.temp of the blob in the store, above the layers below it.
func (p *Piece) again(ctx context.Context) error {
	if err := p.fresh(); err != nil {
		return err
	}
	return p.in.unpackInto(ctx, p.temp, p.layer)
}

// fresh makes a new p.temp.
func (p *Piece) fresh() error {
	err := p.discard()
	if err == nil {
		p.temp, err = os.MkdirTemp(p.in.dir, "layer-")
	}
	return err
}

// discard removes p.temp.
func (p *Piece) discard() error {
	if p.temp == "" {
		return nil
	}
	err := os.RemoveAll(p.temp)
	p.temp = ""
	return err
}

// arrive brings the blob d into the store. If it is given a consumer, that one
// reads the blob on the way, or from the store.
func (in *Ingest) arrive(
	ctx context.Context, d ocispec.Descriptor, open Source, consume func(context.Context, io.Reader) error,
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
	if consume == nil {
		if whole(path, d) {
			return false, nil
		}
		consume = func(_ context.Context, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}
	}
	partial := in.store.path("partial", fmt.Sprintf("%s-%s", d.Digest.Algorithm(), d.Digest.Encoded()))
	file := partial
	if info, err := os.Lstat(path); err == nil && info.Size() == d.Size {
		file = path // a disk may rot, so it is verified as well
	}
	for {
		kept, err := os.Lstat(file)
		mayBeWrong := err == nil && kept.Size() > 0
		fetched, damaged, err := in.pass(ctx, file, d, open, consume)
		if damaged != nil {
			err = errors.Join(damaged, os.Remove(file))
			if mayBeWrong {
				file = partial
				continue // once more without what was kept
			}
		}
		if err == nil && file == partial {
			err = rename(partial, path)
			in.wrote.Store(true)
		}
		return fetched, err
	}
}

// pass lets consume read the blob d: what is in the file at path already, and
// then what comes from the source, which it appends to the file. damaged is an
// ErrSize or ErrDigest: it is not the blob that d describes.
func (in *Ingest) pass(
	ctx context.Context, path string, d ocispec.Descriptor, open Source, consume func(context.Context, io.Reader) error,
) (fetched bool, damaged, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, nil, err
	}
	a := &arriving{ctx: ctx, file: f, size: d.Size, open: open}
	defer func() { err = errors.Join(err, a.close()) }()
	v := verify(a, d)
	ahead := readAhead(ctx, v)
	err = consume(ctx, ahead)
	// The rest is read even if nobody wants it: whether the layer was damaged on
	// the way, or is what its author made, makes a difference.
	_, broken := io.Copy(io.Discard, ahead)
	ahead.Close()
	switch wrong := v.verdict(broken); {
	case wrong != nil && broken == nil:
		return a.body != nil, wrong, nil // what the consumer says is a consequence
	case err == nil, wrong != nil && errors.Is(err, broken):
		return a.body != nil, nil, wrong
	}
	return a.body != nil, nil, err
}

// arriving reads a blob: what is in the file already, and then what comes.
type arriving struct {
	ctx  context.Context
	file *os.File
	size int64 // as it should be
	open Source
	body io.ReadCloser // what comes; nil: nothing was asked for yet
}

// Read implements io.Reader.
func (a *arriving) Read(p []byte) (int, error) {
	if a.body == nil {
		n, err := a.file.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, err
		}
		if at == a.size && at > 0 {
			return 0, io.EOF
		}
		body, err := a.open(a.ctx, at)
		if err != nil {
			return 0, err
		}
		a.body = body
	}
	n, err := a.body.Read(p)
	if n > 0 {
		if _, err := a.file.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, err
}

func (a *arriving) close() error {
	if a.body != nil {
		a.body.Close() // it was read only
	}
	return a.file.Close()
}

// verifier reads what d describes and not a byte more, and hashes it.
type verifier struct {
	r    io.Reader
	d    ocispec.Descriptor
	hash digest.Digester
	n    int64
}

func verify(r io.Reader, d ocispec.Descriptor) *verifier {
	return &verifier{r: r, d: d, hash: d.Digest.Algorithm().Digester()}
}

// Read implements io.Reader. One byte more than there should be is read, so
// that it can be missed.
func (v *verifier) Read(p []byte) (int, error) {
	if left := v.d.Size + 1 - v.n; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.hash.Hash().Write(p[:n])
	return n, err
}

// verdict says what is wrong with what was read; err is how reading ended.
func (v *verifier) verdict(err error) error {
	switch {
	case err != nil && v.n == 0, errors.Is(err, ErrSize):
		return err
	case v.n > v.d.Size:
		return fmt.Errorf("%w: more than the %d bytes that the manifest says", ErrSize, v.d.Size)
	case v.n == v.d.Size && v.hash.Digest() != v.d.Digest:
		return fmt.Errorf("%w: content is %s", ErrDigest, Short(v.hash.Digest()))
	case err != nil && v.n < v.d.Size:
		return fmt.Errorf("broke off after %d of %d bytes: %w", v.n, v.d.Size, err)
	case err != nil:
		return err
	case v.n < v.d.Size:
		return fmt.Errorf("%w: %d bytes, and the manifest says %d", ErrSize, v.n, v.d.Size)
	}
	return nil
}
