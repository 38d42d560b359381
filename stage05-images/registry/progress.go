package registry

// Progress: bars for people, lines for logs, JSON for programs, nothing for
// scripts.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"skiff.example/stage05-images/image"
)

// progress is told of what happens, from several goroutines at once. An error of
// what it writes to is no reason to stop.
type progress interface {
	at(i int, bytes int64)  // so much of layer i has come, or gone, or was there
	done(i int, isNew bool) // layer i is in place; or was before
	close()                 // the end, good or bad
}

// A verb is what is done to layers.
type verb struct{ ing, ed string }

var (
	pulled = verb{"pulling", "pulled"}
	pushed = verb{"pushing", "pushed"}
	copied = verb{"copying", "copied"}
)

// state says what became of a layer.
func (v verb) state(isNew bool) string {
	if isNew {
		return v.ed
	}
	return "already there"
}

// newProgress returns the progress that the options want.
func newProgress(o Options, what verb, layers []ocispec.Descriptor) progress {
	f, isFile := o.Progress.(*os.File)
	switch {
	case o.Progress == nil:
		return silence{}
	case o.JSON:
		return &objects{verb: what, layers: layers, out: json.NewEncoder(o.Progress), came: make([]int64, len(layers))}
	case isFile && isTerminal(f):
		return newBars(f, what, layers)
	}
	return &lines{verb: what, w: o.Progress, layers: layers}
}

// isTerminal asks the kernel for the size that only terminals have (man 2
// ioctl_tty); bars need one.
func isTerminal(f *os.File) bool {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil && size.Col > 0
}

// silence is no progress at all.
type silence struct{}

func (silence) at(int, int64)  {}
func (silence) done(int, bool) {}
func (silence) close()         {}

// lines writes a line for each layer that is done.
type lines struct {
	verb
	w      io.Writer
	layers []ocispec.Descriptor
	mutex  sync.Mutex
}

func (*lines) at(int, int64) {}
func (*lines) close()        {}

func (l *lines) done(i int, isNew bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	d := l.layers[i]
	fmt.Fprintf(l.w, "layer %d/%d %s %s %s\n", i+1, len(l.layers), image.Short(d.Digest), size(d.Size), l.state(isNew))
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

// object is a line of JSON: about a layer that is done, or once a second about
// all of them.
type object struct {
	Layer  int           `json:"layer,omitempty"` // counted from 1
	Digest digest.Digest `json:"digest,omitempty"`
	Layers int           `json:"layers"`
	Bytes  int64         `json:"bytes"` // so far
	Size   int64         `json:"size"`
	State  string        `json:"state"`
}

// objects writes such lines.
type objects struct {
	verb
	layers []ocispec.Descriptor
	mutex  sync.Mutex
	out    *json.Encoder
	came   []int64
	last   time.Time
}

func (o *objects) at(i int, bytes int64) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.came[i] = bytes
	if time.Since(o.last) < time.Second {
		return
	}
	o.last = time.Now()
	line := object{Layers: len(o.layers), State: o.ing}
	for i, d := range o.layers {
		line.Bytes += o.came[i]
		line.Size += d.Size
	}
	_ = o.out.Encode(line)
}

func (o *objects) done(i int, isNew bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	d := o.layers[i]
	_ = o.out.Encode(object{Layer: i + 1, Digest: d.Digest, Layers: len(o.layers), Bytes: d.Size, Size: d.Size, State: o.state(isNew)})
}

func (*objects) close() {}

// bars are a bar for each layer, and one below them for all.
type bars struct {
	verb
	screen *mpb.Progress
	layers []*mpb.Bar
	total  *mpb.Bar

	mutex sync.Mutex
	came  []int64
	sum   int64
	ready int
}

func newBars(w io.Writer, what verb, layers []ocispec.Descriptor) *bars {
	b := &bars{verb: what, came: make([]int64, len(layers))}
	b.screen = mpb.New(mpb.WithOutput(w), mpb.WithWidth(64), mpb.WithRefreshRate(100*time.Millisecond), mpb.WithAutoRefresh())
	var sum int64
	for _, d := range layers {
		sum += d.Size
		b.layers = append(b.layers, b.bar(d.Size, decor.Name(image.Short(d.Digest), decor.WCSyncSpaceR)))
	}
	b.total = b.bar(sum, decor.Any(func(decor.Statistics) string { return b.title() }, decor.WCSyncSpaceR))
	return b
}

// bar adds a bar: how much of how much, how fast, how long to go.
func (b *bars) bar(size int64, name decor.Decorator) *mpb.Bar {
	bar := b.screen.AddBar(0, // a bar that is given its size here ends when the bytes are there; ours ends with the work
		mpb.PrependDecorators(name),
		mpb.AppendDecorators(
			decor.NewPercentage("%3d", decor.WCSyncSpace),
			decor.CountersKibiByte("% .1f/% .1f", decor.WCSyncSpace),
			decor.OnComplete(decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WCSyncSpace), ""),
			decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), ""),
		))
	bar.SetTotal(size, false)
	return bar
}

func (b *bars) title() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return fmt.Sprintf("%s %d of %d", b.ed, b.ready, len(b.layers))
}

func (b *bars) at(i int, bytes int64) {
	b.mutex.Lock()
	if b.came[i] == 0 { // the layer begins now, and so does the time that its speed counts
		b.layers[i].DecoratorAverageAdjust(time.Now())
	}
	b.sum += bytes - b.came[i]
	b.came[i] = bytes
	sum := b.sum
	b.mutex.Unlock()
	b.layers[i].SetCurrent(bytes)
	if sum > b.total.Current() { // it does not go back when something is sent again
		b.total.SetCurrent(sum)
	}
}

func (b *bars) done(i int, _ bool) {
	b.mutex.Lock()
	b.ready++
	all := b.ready == len(b.layers)
	b.mutex.Unlock()
	b.layers[i].SetTotal(-1, true)
	if all {
		b.total.SetTotal(-1, true)
	}
}

// close leaves the bars as they are and the cursor on the next line.
func (b *bars) close() {
	for _, bar := range append(b.layers, b.total) {
		bar.Abort(false)
	}
	b.screen.Wait()
}
