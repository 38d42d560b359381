package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"

	"skiff.example/final/engine/account"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/inroot"
)

// COPY and ADD: files of the context, of another stage or of another image become a
// layer. A source is looked up inside the folder that it comes from, and its
// files are read by descriptors from there: neither a link nor a race leads out of
// it (CVE-2018-15664, CVE-2024-23651). A destination is a name in a tar file, and
// package layer unpacks it inside the image.

// copying is a COPY or an ADD.
type copying struct {
	instructions.SourcesAndDest
	add                bool
	from, chown, chmod string
}

// origin is where sources are from.
type origin struct {
	root    *inroot.Root
	ignored ignored
	what    string // for errors
	key     string // what decides its content; "": the content itself
	owner   *owner // of all files; nil: who they belong to there
	close   func() error
}

// origin opens the place where the sources are from.
func (b *builder) origin(ctx context.Context, s *stage, c copying) (*origin, error) {
	if c.from == "" {
		return &origin{root: b.context, ignored: b.ignored, what: "the build context", owner: &owner{}, close: func() error { return nil }}, nil
	}
	other, err := b.other(ctx, c.from)
	if err != nil {
		return nil, err
	}
	v, err := other.look()
	if err != nil {
		return nil, err
	}
	if v.root == nil {
		return nil, fmt.Errorf("--from=%s: it is empty", c.from)
	}
	return &origin{root: v.root, what: fmt.Sprintf("%q", c.from), key: other.key, close: v.Close}, nil
}

// other is the stage or image that --from names.
func (b *builder) other(ctx context.Context, name string) (*stage, error) {
	if i, ok := b.recipe.before(len(b.recipe.stages), name); ok && b.done[i] != nil {
		return b.done[i], nil
	}
	s, err := b.fromImage(ctx, name)
	if err != nil && !strings.ContainsAny(name, "/:@") {
		err = fmt.Errorf("no stage has this name, and as an image: %w", err)
	}
	return s, err
}

// copy does COPY and ADD.
func (b *builder) copy(ctx context.Context, s *stage, text string, c copying) (err error) {
	o, err := b.origin(ctx, s, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	p := newPacker(io.Discard, b.Epoch, o)
	if err := p.set(s, c); err != nil {
		return err
	}
	sources, err := o.find(c)
	if err != nil {
		return err
	}
	content := o.key
	if content == "" {
		if content, err = p.sum(ctx, sources); err != nil {
			return err
		}
	}
	key := b.key(s.key, text, s.within(c.DestPath), content, fmt.Sprintf("%q %s %s", c.SourcePaths, c.chown, c.chmod))
	if b.cached(s, key) {
		b.say(text, "CACHED ")
		return nil
	}
	b.say(text, "")
	return b.layer(ctx, s, key, text, func(w io.Writer) error { return b.pack(ctx, w, s, c, p, sources, content) })
}

// pack writes the layer.
func (b *builder) pack(ctx context.Context, w io.Writer, s *stage, c copying, p *packer, sources []found, content string) (err error) {
	v, err := s.look()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	dest, isDir, err := destination(s, c, v, sources)
	if err != nil {
		return err
	}
	p = p.to(w, v, c.add, dest)
	// A directory that is copied brings the destination with it.
	brought := slices.ContainsFunc(sources, func(f found) bool { return f.dir })
	if err := p.parents(dest, isDir && !brought); err != nil {
		return err
	}
	if !isDir {
		p.dir, p.rename = path.Dir(dest), path.Base(dest)
	}
	sum, err := p.sum(ctx, sources)
	if err == nil && p.origin.key == "" && sum != content {
		err = hint.Add(errors.New("the build context has changed while it was read"), "build again")
	}
	return errors.Join(err, p.tar.Close())
}

// destination is where the sources go: into a directory, or under another name.
func destination(s *stage, c copying, v *view, sources []found) (dest string, isDir bool, err error) {
	dest = s.within(c.DestPath)
	last := path.Base(c.DestPath)
	isDir = strings.HasSuffix(c.DestPath, "/") || last == "." || last == ".." || dest == "/"
	if len(c.SourcePaths) > 1 && !isDir {
		return "", false, hint.Add(fmt.Errorf("several sources, and %q is no directory", c.DestPath), "end it with a slash")
	}
	mode, err := v.mode(dest, 0)
	if err != nil {
		return "", false, err
	}
	isDir = isDir || mode == unix.S_IFDIR || slices.ContainsFunc(sources, func(f found) bool { return f.dir }) || len(sources) > 1
	if isDir && mode != 0 && mode != unix.S_IFDIR {
		return "", false, fmt.Errorf("%q of the image is no directory", dest)
	}
	return dest, isDir, nil
}

// found is a source: a file or a directory.
type found struct {
	name string // in its origin; "." is all of it
	dir  bool
}

// find finds the sources that the patterns mean.
func (o *origin) find(c copying) (list []found, err error) {
	for _, pattern := range c.SourcePaths {
		if c.add && remote(pattern) {
			return nil, hint.Add(fmt.Errorf("%q: an address is not supported", pattern), "fetch it before the build, or in a RUN, and check what came")
		}
		// Elsewhere ".." stops at the root, so that another file is copied than was meant.
		clean := path.Clean(strings.TrimLeft(pattern, "/"))
		if clean == ".." || strings.HasPrefix(clean, "../") {
			return nil, fmt.Errorf("%q is outside of %s", pattern, o.what)
		}
		names, err := fs.Glob(rooted{o.root}, clean)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		before := len(list)
		for _, name := range names {
			if list, err = o.add(list, name); err != nil {
				return nil, err
			}
		}
		if len(list) == before {
			return nil, o.missing(pattern, len(names) > 0)
		}
	}
	return list, nil
}

// add adds a source, if it is not ignored.
func (o *origin) add(list []found, name string) ([]found, error) {
	_, all, err := o.ignored.is(name)
	if all || err != nil {
		return list, err
	}
	info, err := rooted{o.root}.Stat(name)
	if err != nil {
		return nil, err
	}
	if yes, _, err := o.ignored.is(name); err != nil || yes && !info.IsDir() {
		return list, err
	}
	return append(list, found{name, info.IsDir()}), nil
}

// missing is the error for a source that is not there.
func (o *origin) missing(pattern string, ignored bool) error {
	err := fmt.Errorf("%q is not in %s: %w", pattern, o.what, fs.ErrNotExist)
	if ignored {
		return hint.Add(err, ".dockerignore says not to see it")
	}
	return err
}

// remote tells whether a source is an address.
func remote(text string) bool {
	return strings.Contains(text, "://") || strings.HasPrefix(text, "git@")
}

// owner is who files belong to.
type owner struct{ uid, gid int }

// set reads --chown and --chmod.
func (p *packer) set(s *stage, c copying) error {
	p.owner = p.origin.owner
	if c.chown != "" {
		user, err := account.Resolve(c.chown, s.dirs)
		if err != nil {
			return fmt.Errorf("--chown: %w", err)
		}
		p.owner = &owner{int(user.UID), int(user.GID)}
		if _, err := strconv.Atoi(c.chown); err == nil {
			p.owner.gid = p.owner.uid // Dockerfile reference, "COPY --chown"
		}
		p.chown = p.owner
	}
	if c.chmod != "" {
		perm, err := strconv.ParseUint(c.chmod, 8, 12)
		if err != nil {
			return fmt.Errorf("--chmod=%s: want an octal number up to 7777", c.chmod)
		}
		p.perm = new(int64)
		*p.perm = int64(perm)
	}
	return nil
}
