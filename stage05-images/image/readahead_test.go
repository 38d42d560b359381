package image

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadingAheadChangesNothing(t *testing.T) {
	text := strings.Repeat("0123456789", 3*chunkSize/10)
	r := readAhead(t.Context(), iotest.HalfReader(strings.NewReader(text)))
	defer r.Close()
	if err := iotest.TestReader(r, []byte(text)); err != nil {
		t.Error(err)
	}
}

func TestAnErrorComesAfterWhatWasRead(t *testing.T) {
	broken := errors.New("broken")
	for _, want := range []error{broken, io.ErrUnexpectedEOF} {
		r := readAhead(t.Context(), io.MultiReader(strings.NewReader("text"), iotest.ErrReader(want)))
		got, err := io.ReadAll(r)
		if string(got) != "text" || !errors.Is(err, want) {
			t.Errorf("%q, %v", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// counting counts what is read of an endless stream.
type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

func TestNoMoreIsReadThanFitsInTheBuffers(t *testing.T) {
	var source counting
	r := readAhead(t.Context(), &source)
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // in the middle, and the goroutine has ended
		t.Fatal(err)
	}
	if source.n > chunks*chunkSize {
		t.Errorf("read %d bytes ahead", source.n)
	}
}

func TestReadingAheadEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	r := readAhead(ctx, &counting{})
	defer r.Close()
	cancel(interrupted)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
}
