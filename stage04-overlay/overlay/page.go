package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Kernels before 6.8 take all lower directories as one text, "a:b:c", and by
// fsconfig(2) it would have 255 bytes at most. mount(2) has a page for it, which
// is soon full as well: of names like <digest, 64 digits> it holds about 60. So
// there the layers get short names.

// maxOptions is how long mount(2)'s data may be: one page, of which the
// terminating zero is part (man 2 mount). The kernel cuts the rest off without a
// word, and the last layers would be missing.
const maxOptions = 4096 - 1

// special are the characters that overlayfs reads as its own in such a text: ':'
// between directories, ',' between options, and the backslash before them.
const special = `\:,`

// escape puts a backslash before each of them.
var escape = strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace

// byPage mounts with mount(2).
func (s Stack) byPage(p *plan.Plan, target string) error {
	base, data := s.page()
	if len(data) > maxOptions {
		return fmt.Errorf("the names of %d lower directories, relative to %q, make %d bytes of options, and mount(2) takes %d: %w",
			len(s.Lower), base, len(data), maxOptions, unix.E2BIG)
	}
	p.Add(plan.Chdir(base), plan.Mount("overlay", target, "overlay", 0, data).
		Doing("stack the layers on %q", target).Hint(unix.EINVAL, refusedHint))
	return nil
}

// page is the data of mount(2), with names relative to base.
func (s Stack) page() (base, data string) {
	base = commonParent(s.Lower)
	var lower []string
	for _, dir := range s.Lower {
		lower = append(lower, escape(below(base, dir)))
	}
	words := []string{"lowerdir=" + strings.Join(lower, ":")}
	if s.Upper != "" {
		words = append(words, "upperdir="+escape(below(base, s.Upper)), "workdir="+escape(below(base, s.Work)))
	}
	for _, o := range s.options() {
		if o.value != "" {
			o.key += "=" + o.value
		}
		words = append(words, o.key)
	}
	return base, strings.Join(words, ",")
}

// shorten gives the lower directories short names if the page needs them:
// symbolic links in the folder l of dir, which go with it. Five hundred take 1,890
// bytes. (docker's overlay2 has such links as well, one beside each layer.)
func (s *Stack) shorten(dir string) error {
	if _, data := s.page(); !s.OnePage || len(data) <= maxOptions {
		return nil
	}
	links := filepath.Join(dir, "l")
	if err := os.Mkdir(links, 0o700); err != nil && !os.IsExist(err) {
		return fmt.Errorf("short names for layers: %w", err)
	}
	short := make([]string, len(s.Lower))
	for i, layer := range s.Lower {
		short[i] = filepath.Join(links, strconv.Itoa(i))
		if err := os.Symlink(layer, short[i]); err != nil && !os.IsExist(err) {
			return fmt.Errorf("short name for a layer: %w", err)
		}
	}
	s.Lower = short
	return nil
}

// olderThan tells whether the kernel is older than version major.minor: uname(2).
func olderThan(major, minor int) (bool, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false, fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	var has [2]int
	if _, err := fmt.Sscanf(release, "%d.%d", &has[0], &has[1]); err != nil {
		return false, fmt.Errorf("uname: release %q: %w", release, err)
	}
	return has[0] < major || has[0] == major && has[1] < minor, nil
}
