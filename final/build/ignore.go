package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/inroot"
)

// .dockerignore: what of the context is not to be seen by COPY and ADD.

// ignored tells what is not to be seen. The zero value ignores nothing.
type ignored struct {
	patterns *patternmatcher.PatternMatcher
}

// maxIgnored is how large the list may be, in bytes.
const maxIgnored = 1 << 20

// readIgnored reads RECIPE.dockerignore of the context or, without it,
// .dockerignore.
func readIgnored(context *inroot.Root, recipe string) (ignored, error) {
	for _, name := range []string{filepath.Base(recipe) + ".dockerignore", ".dockerignore"} {
		f, err := context.Lookup(name, unix.O_RDONLY|unix.O_NONBLOCK)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return ignored{}, err
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxIgnored {
			return ignored{}, errors.Join(fmt.Errorf("%s: want a plain file of at most %d bytes", name, maxIgnored), err)
		}
		patterns, err := ignorefile.ReadAll(f)
		if err != nil {
			return ignored{}, fmt.Errorf("read %s: %w", name, err)
		}
		m, err := patternmatcher.New(patterns)
		if err != nil {
			return ignored{}, fmt.Errorf("%s: %w", name, err)
		}
		return ignored{m}, nil
	}
	return ignored{}, nil
}

// is tells whether a name of the context is ignored; all says that everything below
// it is as well.
func (i ignored) is(name string) (yes, all bool, err error) {
	if i.patterns == nil || name == "." {
		return false, false, nil
	}
	yes, err = i.patterns.MatchesOrParentMatches(name)
	return yes, yes && !i.patterns.Exclusions(), err
}
