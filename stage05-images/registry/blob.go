package registry

// Blobs: asked for by digest, from an offset on, and again when the connection
// breaks (distribution-spec, "Pulling blobs"; ranges: RFC 9110 section 14). Who
// reads one, its hash, its decompressor and its unpacker, notices nothing.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"skiff.example/stage05-images/image"
)

// errStalled says that a connection stood, but nothing came.
var errStalled = errors.New("the connection brought nothing any more")

// fetchFrom opens the blob at an address, from the offset on. A server that does
// not understand ranges is asked for all of it.
func fetchFrom(ctx context.Context, client *http.Client, address string, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	var rest string
	if offset > 0 {
		rest = fmt.Sprintf("bytes=%d-%d", offset, d.Size-1)
	}
	resp, err := ask(ctx, client, address, rest)
	if err == nil && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		resp.Body.Close()
		resp, err = ask(ctx, client, address, "")
	}
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, err
	}
	if err := position(resp, d, offset); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}

// ask sends a GET request, perhaps for a range only.
func ask(ctx context.Context, client *http.Client, address, bytes string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if bytes != "" {
		req.Header.Set("Range", bytes)
	}
	return client.Do(req)
}

// position makes sure that the body of resp is the blob from the offset on. A
// server may ignore ranges: then what is there already is read once more.
func position(resp *http.Response, d ocispec.Descriptor, offset int64) error {
	at, length := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		at = offset
		if said := resp.Header.Get("Content-Range"); !strings.HasPrefix(said, fmt.Sprintf("bytes %d-", offset)) {
			return fmt.Errorf("asked for the blob from byte %d on, and the registry sends %q", offset, oneLine(said))
		}
	}
	if length >= 0 && at+length != d.Size {
		return fmt.Errorf("%w: the registry has %d bytes, and the manifest says %d", image.ErrSize, at+length, d.Size)
	}
	if n, err := io.CopyN(io.Discard, resp.Body, offset-at); err == io.EOF {
		return fmt.Errorf("%w: the registry has %d bytes, and the manifest says %d", image.ErrSize, n, d.Size)
	} else {
		return err
	}
}

// steady is a blob that is read over as many connections as it takes.
type steady struct {
	ctx   context.Context
	open  image.Source
	retry Retry
	at    int64 // how far it was read
	size  int64

	*connection     // nil: there is none
	failed      int // attempts, since something came
}

// connection is one answer.
type connection struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  *time.Timer // runs while somebody waits
	came   int64       // bytes
}

// newSteady opens a blob from the offset at on.
func newSteady(ctx context.Context, size, at int64, retry Retry, open image.Source) (*steady, error) {
	s := &steady{ctx: ctx, open: open, retry: retry, at: at, size: size}
	return s, s.connect()
}

// connect opens a connection.
func (s *steady) connect() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	body, err := s.open(ctx, s.at)
	if err != nil {
		cancel(err)
		return err
	}
	s.connection = &connection{body: body, ctx: ctx, cancel: cancel, stall: time.AfterFunc(s.retry.Stall, func() { cancel(errStalled) })}
	s.stall.Stop()
	return nil
}

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	for {
		n, err := s.read(p)
		s.at += int64(n)
		switch {
		case err != nil && s.at >= s.size:
			return n, io.EOF // after the last byte it does not matter how the connection ends
		case n > 0 || err == nil:
			s.failed = 0
			return n, nil
		case err == io.EOF && s.connection != nil && s.came == 0:
			return 0, err // there is no more
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		// Where nobody answers, patient has tried again already, except when
		// nobody listens: a registry that was there a moment ago may be starting.
		again := s.connection != nil && passes(err) || errors.Is(err, unix.ECONNREFUSED)
		s.Close()
		s.failed++
		if !again || !s.retry.wait(s.ctx, s.failed) {
			return 0, err
		}
	}
}

// read reads from a connection.
func (s *steady) read(p []byte) (int, error) {
	if s.connection == nil {
		if err := s.connect(); err != nil {
			return 0, err
		}
	}
	s.stall.Reset(s.retry.Stall)
	n, err := s.body.Read(p)
	s.stall.Stop()
	s.came += int64(n)
	if context.Cause(s.connection.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// Close ends the connection.
func (s *steady) Close() error {
	if s.connection == nil {
		return nil
	}
	s.stall.Stop()
	err := s.body.Close()
	s.cancel(nil)
	s.connection = nil
	return err
}
