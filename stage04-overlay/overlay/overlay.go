// Package overlay stacks directories: image layers that are only read, and on
// top of them one directory that takes all writes.
//
// The kernel's overlayfs does the work (Documentation/filesystems/overlayfs.rst).
// A lookup goes through the layers from the top down. The first write to a file
// copies it up to the upper directory; deleting it leaves a whiteout there. So
// a hundred containers share one image, each one sees only its own changes, and
// throwing a container away is removing its upper directory.
//
// This package does not mount. It says how: Stack.Steps returns the steps that
// a container's first process takes inside its own mount namespace, where the
// mount ends with the container and the host never sees it.
package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Stack is what an overlay mount is made of. All paths are absolute.
type Stack struct {
	Lower []string // directories that are only read, topmost first; package layer makes them

	// Upper takes the writes. Work is empty, in the same file system as Upper,
	// and for overlayfs alone. Without the two, the mount is read-only.
	Upper, Work string
}

const (
	// maxLower is overlayfs's limit on lower directories, OVL_MAX_STACK.
	maxLower = 500

	// maxOptions is how long mount(2)'s data may be: one page, of which the
	// terminating zero is part (man 2 mount). The kernel cuts the rest off
	// without a word, and the last layers would be missing.
	maxOptions = 4096 - 1
)

// features are parts of overlayfs that are off, whatever the kernel's own
// default (distributions differ in it): each of them leaves in the
// upper directory something that is whole only together with a lower one, so
// that it would be no layer. See "redirect_dir", "metacopy",
// "index" in overlayfs.rst.
const features = "redirect_dir=nofollow,metacopy=off,index=off"

// Steps mounts the stack on target, an absolute path. The steps change the
// current directory, see options. It is an error, with numbers, if there are
// more than 500 lower directories or their names do not fit into one page.
func (s Stack) Steps(target string) ([]plan.Step, error) {
	if !filepath.IsAbs(target) {
		return nil, fmt.Errorf("mount overlay on %q: path is not absolute: %w", target, unix.EINVAL)
	}
	base, options, err := s.options()
	if err != nil {
		return nil, fmt.Errorf("mount overlay on %q: %w", target, err)
	}
	return []plan.Step{
		plan.Chdir(base),
		plan.Mount("overlay", target, "overlay", 0, options),
	}, nil
}

// options is the data of mount(2), with names of lower directories relative to
// base. One page is soon full: of names like
// /var/lib/skiff/layers/<digest, 64 digits> it holds about 45. So what they have in
// common goes, by standing in that directory while mounting. (docker's overlay2
// does the same, and has short symbolic links in a directory "l" instead of
// the digests.) A store with short names gets all 500 layers in.
func (s Stack) options() (base, options string, err error) {
	if err := s.check(); err != nil {
		return "", "", err
	}
	base = commonParent(s.Lower)
	var lower []string
	for _, dir := range s.Lower {
		lower = append(lower, escape(below(base, dir)))
	}
	options = "lowerdir=" + strings.Join(lower, ":")
	if s.Upper != "" {
		options += ",upperdir=" + escape(below(base, s.Upper)) + ",workdir=" + escape(below(base, s.Work))
	}
	options += "," + features
	if len(options) > maxOptions {
		return "", "", fmt.Errorf("the names of %d lower directories, relative to %q, make %d bytes of options, and mount(2) takes %d: %w",
			len(s.Lower), base, len(options), maxOptions, unix.E2BIG)
	}
	return base, options, nil
}

// check finds what the kernel would answer with EINVAL and a line in its log.
func (s Stack) check() error {
	switch {
	case len(s.Lower) == 0:
		return fmt.Errorf("no lower directory: %w", unix.EINVAL)
	case len(s.Lower) > maxLower:
		return fmt.Errorf("%d lower directories, and overlayfs takes %d: %w", len(s.Lower), maxLower, unix.E2BIG)
	case (s.Upper == "") != (s.Work == ""):
		return fmt.Errorf("upper %q without work %q: both or none: %w", s.Upper, s.Work, unix.EINVAL)
	case s.Upper == "" && len(s.Lower) == 1:
		return fmt.Errorf("one lower directory and no upper one: there is nothing to stack: %w", unix.EINVAL)
	}
	for _, dir := range s.all() {
		if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
			return fmt.Errorf("directory %q: not an absolute, clean path below /: %w", dir, unix.EINVAL)
		}
	}
	return nil
}

// all are all directories of the stack.
func (s Stack) all() []string {
	dirs := append([]string{}, s.Lower...)
	if s.Upper != "" {
		dirs = append(dirs, s.Upper, s.Work)
	}
	return dirs
}

// commonParent is the deepest directory that all dirs are below.
func commonParent(dirs []string) string {
	parent := filepath.Dir(dirs[0])
	for _, dir := range dirs[1:] {
		for below(parent, dir) == dir {
			parent = filepath.Dir(parent)
		}
	}
	return parent
}

// below is dir as seen from base, if it is below it, and else dir itself. It
// never begins with "..": if base is reached by a symbolic link, its ".." is
// somewhere else.
func below(base, dir string) string {
	prefix := strings.TrimSuffix(base, "/") + "/"
	if rest, ok := strings.CutPrefix(dir, prefix); ok && rest != "" {
		return rest
	}
	return dir
}

// escape puts a backslash before each character that overlayfs reads as its
// own: ':' between lower directories, ',' between options, and '\' itself.
var escape = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace

// Prepare makes a container's writable layer: directories upper and work in
// dir, which is made too if it is missing. It returns the stack with lower
// below. After an error the caller removes dir.
//
// The root directory of the mount is the upper directory, as far as mode and
// owner go. So it gets those of the topmost lower directory: with any other
// mode, users of the container could not enter "/", or write to it.
func Prepare(dir string, lower []string) (Stack, error) {
	s := Stack{Lower: lower, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	if err := s.check(); err != nil {
		return Stack{}, fmt.Errorf("writable layer %q: %w", dir, err)
	}
	// 0700 keeps other users out of what containers write, with its
	// set-user-ID programs (CVE-2021-41103).
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return Stack{}, fmt.Errorf("writable layer: %w", err)
	}
	for _, path := range []string{s.Upper, s.Work} {
		if err := os.Mkdir(path, 0o700); err != nil {
			return Stack{}, fmt.Errorf("writable layer: %w", err)
		}
	}
	if err := likeRoot(s.Upper, lower[0]); err != nil {
		return Stack{}, fmt.Errorf("writable layer %q: %w", s.Upper, err)
	}
	return s, nil
}

// likeRoot gives a directory the owner and then, as chown clears bits of it,
// the mode of another one.
func likeRoot(dir, model string) error {
	var st unix.Stat_t
	if err := unix.Stat(model, &st); err != nil {
		return fmt.Errorf("stat %q: %w", model, err)
	}
	if err := unix.Chown(dir, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", st.Uid, st.Gid, err)
	}
	if err := unix.Chmod(dir, st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod to %#o: %w", st.Mode&0o7777, err)
	}
	return nil
}
