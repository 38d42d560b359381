// Package build makes an image from a recipe, a Dockerfile.
//
// A recipe is a list of steps, and each one starts from the image that the one
// before has made. RUN is a container on that image: what it has written, the
// upper directory of its overlay, becomes a layer (package layer). COPY and ADD
// need no container: they are a layer to begin with, a tar file whose names are
// those in the image. All else only changes the image's configuration.
//
// The language is Docker's (docs.docker.com/reference/dockerfile). Its parser is
// BuildKit's, with the packages instructions and shell: with parser alone skiff
// would be 70 KB smaller, and the flags and quoting of each instruction ours to
// get wrong. What is understood there and not here is an error with file and
// line: nothing is skipped in silence.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"skiff.example/final/engine"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
	"skiff.example/stage05-images/image"
)

// Options say what to build. The zero value of each field is what docker does.
type Options struct {
	Context string            // the folder that COPY and ADD read from
	File    string            // the recipe; "": Dockerfile in Context
	Target  string            // the stage to make, by name or number; "": the last
	Tags    []string          // names of the image
	Args    map[string]string // for ARG
	NoCache bool              // do every step, whatever was done before
	Network string            // of RUN, as in engine.Options

	// Epoch, if not nil, is the time of everything that is made, so that the same
	// input gives the same image: reproducible-builds.org, SOURCE_DATE_EPOCH.
	Epoch *time.Time

	Progress io.Writer // a line for each step
}

// builder is one build.
type builder struct {
	Options
	engine  *engine.Engine
	store   *image.Store
	in      *image.Ingest
	recipe  *recipe
	context *inroot.Root
	ignored ignored
	done    map[int]*stage // finished stages, by number
	step    int            // how many have begun
	steps   int
	used    map[string]bool // the Args that some ARG has asked for
}

// Build makes the image and returns it. It has no name before it is whole. What
// its steps have made stays as images of its own, see cacheName, so that the next
// build need not do them again.
//
// It returns soon after the end of ctx, and nothing is left of the step under way.
// An error names the file, the line and the instruction.
func Build(ctx context.Context, e *engine.Engine, o Options) (img *image.Image, err error) {
	if err := e.Collect(); err != nil {
		return nil, err
	}
	for _, tag := range o.Tags { // before anything is done
		if full, err := image.Normalize(tag); err != nil {
			return nil, err
		} else if strings.Contains(full, "@") {
			return nil, fmt.Errorf("tag %q: a name with a digest cannot be given", tag)
		}
	}
	b := &builder{Options: o, engine: e, done: map[int]*stage{}, used: map[string]bool{}}
	if b.File == "" {
		b.File = filepath.Join(o.Context, "Dockerfile")
	}
	if b.recipe, err = readRecipe(b.File, o.Args); err != nil {
		return nil, err
	}
	if err := b.openContext(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.context.Close()) }()
	if b.store, err = e.Images(); err != nil {
		return nil, err
	}
	// As long as this is open nothing is collected: no lease is needed beside it.
	if b.in, err = b.store.Ingest(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.in.Close()) }()
	return b.build(ctx)
}

// openContext opens the folder, and reads what of it is to be ignored.
func (b *builder) openContext() (err error) {
	info, err := os.Stat(b.Context)
	if err == nil && !info.IsDir() {
		err = hint.Add(fmt.Errorf("%q is no folder", b.Context), "an archive or an address is no context here: unpack or fetch it first")
	}
	if err != nil {
		return fmt.Errorf("build context: %w", err)
	}
	if b.context, err = inroot.Open(b.Context); err != nil {
		return fmt.Errorf("build context: %w", err)
	}
	if b.ignored, err = readIgnored(b.context, b.File); err != nil {
		return errors.Join(err, b.context.Close())
	}
	return nil
}

// build does the stages that the target needs, and names the image.
func (b *builder) build(ctx context.Context) (*image.Image, error) {
	target, err := b.recipe.find(b.Target)
	if err != nil {
		return nil, err
	}
	needed, err := b.recipe.needed(target)
	if err != nil {
		return nil, err
	}
	for _, i := range needed {
		b.steps += 1 + len(b.recipe.stages[i].Commands)
		if err := b.recipe.supported(i); err != nil {
			return nil, err
		}
	}
	for _, i := range needed {
		if b.done[i], err = b.stage(ctx, i); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Args)) {
		if !b.used[name] && !b.recipe.used[name] && !proxies[name] {
			fmt.Fprintf(b.engine.Out, "warning: no ARG asks for the build argument %q\n", name)
		}
	}
	s := b.done[target]
	if last := b.recipe.stages[target]; len(s.blobs) == 0 {
		return nil, b.recipe.at(last.Location, last.SourceCode, errors.New("the image would be empty: no step makes a file"))
	}
	img, err := b.save(ctx, s, cacheName(s.key))
	for _, tag := range b.Tags {
		if err == nil {
			img, err = b.save(ctx, s, tag)
		}
	}
	return img, err
}

// stage does the steps of a stage.
func (b *builder) stage(ctx context.Context, number int) (*stage, error) {
	words := b.recipe.stages[number]
	s, err := b.from(ctx, &words)
	if err != nil {
		return nil, b.recipe.at(words.Location, words.SourceCode, err)
	}
	for _, c := range words.Commands {
		err := context.Cause(ctx)
		if err == nil {
			err = b.do(ctx, s, c)
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause // whatever it was that it has broken
		}
		if err != nil {
			return nil, b.recipe.at(c.Location(), source(c), err)
		}
	}
	return s, nil
}

// say tells of a step that begins.
func (b *builder) say(text, cached string) {
	b.step++
	fmt.Fprintf(b.Progress, "%s[%d/%d] %s\n", cached, b.step, b.steps, firstLine(text))
}

// source is an instruction as it was written.
func source(c instructions.Command) string {
	if s, ok := c.(fmt.Stringer); ok {
		return s.String()
	}
	return strings.ToUpper(c.Name())
}

// firstLine is the beginning of an instruction, for a line of its own.
func firstLine(text string) string {
	const most = 100
	line, _, more := strings.Cut(text, "\n")
	if runes := []rune(line); len(runes) > most {
		line, more = string(runes[:most]), true
	}
	if more {
		line += " …"
	}
	return line
}
