package rootfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Where a library is looked for: ld.so(8), the section about DT_RPATH and
// DT_RUNPATH, and, for musl, ldso/dynlink.c. LD_LIBRARY_PATH does not count:
// it belongs to a call, not to a program.

// search knows where one interpreter looks.
type search struct {
	interp     string
	musl       bool
	triplet    string   // the machine's name in paths of Debian: "x86_64-linux-gnu"
	platform   string   // what $PLATFORM stands for: "x86_64"
	configured []string // directories that a file in /etc names
	builtin    []string // directories that the interpreter looks in anyway
	files      []string // the files in /etc that it reads
}

// machines tells how a machine is written in paths.
var machines = map[elf.Machine]struct{ triplet, platform string }{
	elf.EM_X86_64:  {"x86_64-linux-gnu", "x86_64"},
	elf.EM_386:     {"i386-linux-gnu", "i686"},
	elf.EM_AARCH64: {"aarch64-linux-gnu", "aarch64"},
	elf.EM_ARM:     {"arm-linux-gnueabihf", "v7l"},
}

// newSearch reads the configuration of the program's interpreter.
func newSearch(program *object) (*search, error) {
	machine := machines[program.machine]
	s := &search{interp: program.interp, triplet: machine.triplet, platform: machine.platform}
	name := path.Base(program.interp)
	if arch, isMusl := strings.CutPrefix(name, "ld-musl-"); isMusl {
		return s.readMusl("/etc/ld-musl-" + strings.TrimSuffix(arch, ".so.1") + ".path")
	}
	s.builtin = []string{"/lib/" + s.triplet, "/usr/lib/" + s.triplet, "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	// The cache is made of these directories by ldconfig(8), which saves time
	// and adds nothing.
	s.files = []string{"/etc/ld.so.cache"}
	var err error
	s.configured, err = readLdSoConf("/etc/ld.so.conf")
	return s, err
}

// readMusl reads musl's list, directories with newlines or colons between
// them. It stands instead of the built-in one.
func (s *search) readMusl(file string) (*search, error) {
	s.musl = true
	s.builtin = []string{"/lib", "/usr/local/lib", "/usr/lib"}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	s.files = []string{file}
	s.configured = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == ':' })
	s.builtin = nil
	return s, err
}

// readLdSoConf reads directories from a file as ldconfig(8) does: one a line
// or with blanks, commas or colons between them, "#" starts a comment, and
// "include" names further files by patterns. No file is no directories.
func readLdSoConf(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n,:", r) })
		if len(words) == 0 || words[0] == "hwcap" {
			continue
		}
		if words[0] != "include" {
			for _, dir := range words {
				dirs = append(dirs, path.Clean(dir))
			}
			continue
		}
		for _, pattern := range words[1:] {
			included, err := includeLdSoConf(filepath.Dir(file), pattern)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			dirs = append(dirs, included...)
		}
	}
	return dirs, nil
}

// includeLdSoConf reads the files of a pattern, which is relative to dir.
func includeLdSoConf(dir, pattern string) ([]string, error) {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("include %q: %w", pattern, err)
	}
	var dirs []string
	for _, file := range files {
		more, err := readLdSoConf(file)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, more...)
	}
	return dirs, nil
}

// find finds the library that by needs under this name. A file of another
// machine or word size is passed over, as ld.so does. The subfolders of
// libraries for newer processors (glibc-hwcaps) are left out on purpose: what
// is copied must run on every machine.
func (s *search) find(name string, by *object) (*object, error) {
	candidates, tried := []string{}, s.directories(by)
	for _, dir := range tried {
		candidates = append(candidates, dir+"/"+name) // not shortened: in bin/../lib, bin may be a link
	}
	if strings.Contains(name, "/") { // a path is not looked for
		candidates, tried = s.expand(name, by), []string{name}
	}
	var unread error
	for _, candidate := range candidates {
		library, err := readObject(candidate)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			unread = errors.Join(unread, err)
		case library.class == by.class && library.machine == by.machine:
			library.loader = by
			return library, nil
		}
	}
	return nil, errors.Join(notFound(name, by, tried), unread)
}

// directories lists where the libraries of one object are looked for.
func (s *search) directories(by *object) []string {
	dirs := s.ownDirectories(by)
	dirs = append(dirs, s.configured...)
	return append(dirs, s.builtin...)
}

// ownDirectories are those that objects name themselves. In glibc DT_RPATH
// counts for the libraries of libraries too, DT_RUNPATH only for the object's
// own and instead of all DT_RPATHs. In musl the two are the same, and count
// for the libraries of libraries.
func (s *search) ownDirectories(by *object) []string {
	var dirs []string
	for o := by; o != nil; o = o.loader {
		switch {
		case s.musl && len(o.runpath) > 0:
			dirs = append(dirs, s.expandAll(o.runpath, o)...)
		case len(o.runpath) == 0:
			dirs = append(dirs, s.expandAll(o.rpath, o)...)
		case o == by:
			return s.expandAll(o.runpath, o)
		}
	}
	return dirs
}

// expandAll expands lists of directories with colons between them.
func (s *search) expandAll(lists []string, o *object) []string {
	var dirs []string
	for _, list := range lists {
		for _, dir := range strings.Split(list, ":") {
			if dir != "" { // it would mean the working directory: of whom?
				dirs = append(dirs, s.expand(dir, o)...)
			}
		}
	}
	return dirs
}

// expand replaces $ORIGIN, $LIB and $PLATFORM, also as ${ORIGIN}. What $LIB
// stands for is compiled into ld.so and differs between distributions, so all
// are tried. (ld.so asks /proc/self/exe for the program's $ORIGIN: in a root
// without /proc it finds nothing there.)
func (s *search) expand(dir string, o *object) []string {
	var dirs []string
	for _, lib := range []string{"lib/" + s.triplet, "lib64", "lib"} {
		expanded := strings.NewReplacer(
			"${ORIGIN}", o.origin, "$ORIGIN", o.origin,
			"${LIB}", lib, "$LIB", lib,
			"${PLATFORM}", s.platform, "$PLATFORM", s.platform,
		).Replace(dir)
		if !slices.Contains(dirs, expanded) {
			dirs = append(dirs, expanded)
		}
	}
	return dirs
}

// isInterpreter reports whether a name means the interpreter itself. In musl
// that is also the C library, under the names that other systems give to its
// parts: libc, libpthread, libm, ….
func (s *search) isInterpreter(name string) bool {
	part, _, _ := strings.Cut(strings.TrimPrefix(name, "lib"), ".")
	parts := []string{"c", "pthread", "rt", "m", "dl", "util", "xnet"}
	return s.musl && strings.HasPrefix(name, "lib") && slices.Contains(parts, part)
}

// addSearchFiles adds the files that tell the interpreter where to look,
// if a library is where it would not look without them.
func (c *Closure) addSearchFiles(s *search, objects []*object) error {
	needed := slices.ContainsFunc(objects[1:], func(library *object) bool {
		return !slices.Contains(s.builtin, library.origin) && slices.Contains(s.configured, library.origin)
	})
	if !needed {
		return nil
	}
	for _, file := range s.files {
		if _, err := c.addPath(file, "tells "+s.interp+" where libraries are"); err != nil {
			return err
		}
	}
	return nil
}
