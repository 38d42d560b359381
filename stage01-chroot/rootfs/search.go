package rootfs

import (
	"debug/elf"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// Where a library is looked for: ld.so(8), the section about DT_RPATH and
// DT_RUNPATH, and, for musl, ldso/dynlink.c. LD_LIBRARY_PATH does not count:
// it belongs to a call, not to a program.

// find finds the library that by needs under this name: one file, or several
// builds of it for different processors, of which the last runs on all.
func (s *search) find(name string, by *object) ([]*object, error) {
	places, levels, rest := s.directories(by), append(slices.Clone(s.levels), ""), "/"+name
	if strings.Contains(name, "/") { // a path is not looked for
		places, levels, rest = s.expand(name, by), []string{""}, ""
	}
	var found []*object
	var unread error
	for _, place := range places {
		for _, level := range levels {
			library, err := s.readLibrary(place+level+rest, by) // not shortened: in bin/../lib, bin may be a link
			unread = errors.Join(unread, err)
			if library == nil {
				continue
			}
			found = append(found, library)
			if level == "" {
				return found, nil
			}
		}
	}
	if len(found) > 0 {
		return found, nil // only for newer processors
	}
	return nil, errors.Join(notFound(name, by, places), unread)
}

// readLibrary reads a file that may be the library which by needs, nil if it is
// not. Like ld.so it passes over one of another machine or word size.
func (s *search) readLibrary(file string, by *object) (*object, error) {
	library, err := readObject(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil || library.class != by.class || library.machine != by.machine {
		return nil, err
	}
	library.loader = by
	return library, nil
}

// directories lists where the libraries of one object are looked for. One that
// is linked with -z nodefaultlib does without the built-in directories, also
// where the cache names them; musl does not know of that.
func (s *search) directories(by *object) []string {
	dirs := s.ownDirectories(by)
	if s.musl || by.flags1&uint64(elf.DF_1_NODEFLIB) == 0 {
		dirs = append(dirs, s.configured...)
		return append(dirs, s.builtin...)
	}
	for _, dir := range s.configured {
		if !slices.Contains(s.builtin, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
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
			if dir == "" {
				continue // it would mean the working directory: of whom?
			}
			expanded := s.expand(dir, o)
			if len(expanded) == 0 {
				return nil
			}
			dirs = append(dirs, expanded...)
		}
	}
	return dirs
}

// expand replaces $ORIGIN, $LIB and $PLATFORM, also as ${ORIGIN}. What $LIB
// stands for is compiled into ld.so and differs between distributions, so all
// are tried. (ld.so asks /proc/self/exe for the program's $ORIGIN: in a root
// without /proc it finds nothing there.) musl knows $ORIGIN only, and leaves out
// a whole list that has another one.
func (s *search) expand(dir string, o *object) []string {
	if s.musl {
		dir = strings.NewReplacer("${ORIGIN}", o.origin, "$ORIGIN", o.origin).Replace(dir)
		if strings.Contains(dir, "$") {
			return nil
		}
		return []string{dir}
	}
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
