package image

// Reading ahead: decompressing needs one processor, writing files another.
// A goroutine decompresses the next chunks while the last ones are unpacked;
// four chunks and no more are in memory, however large the layer is. It also
// lets a context end the unpacking, which knows of none.

import (
	"context"
	"io"
	"sync"
)

const (
	chunkSize = 256 << 10
	chunks    = 4
)

// chunk is a piece of the stream, or its end (err, io.EOF included).
type chunk struct {
	data []byte
	err  error
}

// aheadReader hands out what its goroutine has read.
type aheadReader struct {
	full    chan chunk  // from the goroutine; its capacity is all chunks and the end
	free    chan []byte // back to it
	stop    context.CancelFunc
	reading sync.WaitGroup

	buffer []byte // the whole buffer that current is a part of
	now    chunk  // what is left of the current chunk
}

// readAhead reads r in a goroutine, until the end, an error, or the end of ctx.
// Close stops it and waits for it; r is the caller's again then.
func readAhead(ctx context.Context, r io.Reader) *aheadReader {
	inner, stop := context.WithCancel(ctx)
	a := &aheadReader{full: make(chan chunk, chunks+1), free: make(chan []byte, chunks), stop: stop}
	for range chunks {
		a.free <- make([]byte, chunkSize)
	}
	a.reading.Go(func() {
		defer close(a.full)
		a.fill(inner, r)
	})
	return a
}

// fill reads chunks until there is an error, of which io.EOF is one.
func (a *aheadReader) fill(ctx context.Context, r io.Reader) {
	for {
		select {
		case <-ctx.Done():
			a.full <- chunk{err: context.Cause(ctx)}
			return
		case buffer := <-a.free:
			n, err := readChunk(r, buffer)
			a.full <- chunk{buffer[:n], err}
			if err != nil {
				return
			}
		}
	}
}

// readChunk reads until the buffer is full or r returns an error, which it
// passes on as it is. (io.ReadFull would turn an end into io.ErrUnexpectedEOF,
// which is what a decompressor says of a truncated stream.)
func readChunk(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

// Read implements io.Reader.
func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.now.data) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.buffer != nil {
			a.free <- a.buffer
		}
		a.now = <-a.full
		a.buffer = a.now.data[:cap(a.now.data)]
	}
	n := copy(p, a.now.data)
	a.now.data = a.now.data[n:]
	return n, nil
}

// Close stops the goroutine.
func (a *aheadReader) Close() error {
	a.stop()
	a.reading.Wait()
	return nil
}
