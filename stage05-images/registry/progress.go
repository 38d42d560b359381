package registry

// Progress: a bar for people, lines for logs, nothing for scripts.

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"

	"skiff.example/stage05-images/image"
)

// progress is told of what happens, from several goroutines at once.
type progress interface {
	add(bytes int64)         // that many bytes of layers came, or were there
	layer(i int, isNew bool) // layer i is unpacked; or was there before
	close()                  // the end, good or bad
}

// newProgress returns the progress for a writer; nil is a writer too.
func newProgress(w io.Writer, layers []ocispec.Descriptor) progress {
	if w == nil {
		return silence{}
	}
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		return newBar(w, layers)
	}
	return &lines{w: w, layers: layers}
}

// isTerminal asks the kernel for the settings that only terminals have
// (man 2 ioctl_tty).
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// silence is no progress at all.
type silence struct{}

func (silence) add(int64)       {}
func (silence) layer(int, bool) {}
func (silence) close()          {}

// lines writes a line for each layer that is done.
type lines struct {
	w      io.Writer
	layers []ocispec.Descriptor
	mutex  sync.Mutex
}

func (*lines) add(int64) {}
func (*lines) close()    {}

func (l *lines) layer(i int, isNew bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	state := "already there"
	if isNew {
		state = "pulled"
	}
	d := l.layers[i]
	fmt.Fprintf(l.w, "layer %d/%d %s %s %s\n", i+1, len(l.layers), image.Short(d.Digest), size(d.Size), state)
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// bar is one bar over the bytes of all layers.
type bar struct {
	*progressbar.ProgressBar
	w     io.Writer
	total int
	mutex sync.Mutex
	done  int
}

func newBar(w io.Writer, layers []ocispec.Descriptor) *bar {
	var sum int64
	for _, d := range layers {
		sum += d.Size
	}
	b := &bar{w: w, total: len(layers)}
	b.ProgressBar = progressbar.NewOptions64(sum,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(b.title()),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionThrottle(50*time.Millisecond),
	)
	return b
}

func (b *bar) title() string {
	return fmt.Sprintf("pulling: %d of %d layers unpacked", b.done, b.total)
}

// add and layer: an error of the terminal is no reason to stop pulling.
func (b *bar) add(bytes int64) { _ = b.Add64(bytes) }

func (b *bar) layer(int, bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.done++
	b.Describe(b.title())
}

// close leaves the bar as it is and the cursor on the next line.
func (b *bar) close() {
	_ = b.Exit()
	fmt.Fprintln(b.w)
}
