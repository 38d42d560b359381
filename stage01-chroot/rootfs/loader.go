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

// What an interpreter of ELF programs knows by itself about where libraries are:
// directories that are compiled into it, and files in /etc. For glibc see
// ld.so(8) and ldconfig(8), for musl ldso/dynlink.c.

// search knows where one interpreter looks.
type search struct {
	interp     string
	musl       bool
	triplet    string   // the machine's name in paths of Debian: "x86_64-linux-gnu"
	platform   string   // what $PLATFORM stands for: "x86_64"
	configured []string // directories that a file in /etc names
	builtin    []string // directories that the interpreter looks in anyway
	files      []string // the files in /etc that it reads
	levels     []string // subdirectories for libraries of newer processors
}

// machines tells how a machine is written in paths.
var machines = map[elf.Machine]struct{ triplet, platform string }{
	elf.EM_X86_64:  {"x86_64-linux-gnu", "x86_64"},
	elf.EM_386:     {"i386-linux-gnu", "i686"},
	elf.EM_AARCH64: {"aarch64-linux-gnu", "aarch64"},
	elf.EM_ARM:     {"arm-linux-gnueabihf", "v7l"},
}

// hwcaps are the levels of a machine for which a directory may have other
// builds of a library, best first: ld.so(8), "glibc-hwcaps". Only ld.so knows
// which of them the processor has, so all are copied: then the new root works
// on every processor, as the host does.
var hwcaps = map[elf.Machine][]string{
	elf.EM_X86_64: {"x86-64-v4", "x86-64-v3", "x86-64-v2"},
}

// newSearch reads the configuration of the program's interpreter.
func newSearch(program *object) (*search, error) {
	machine := machines[program.machine]
	s := &search{interp: program.interp, triplet: machine.triplet, platform: machine.platform}
	name := path.Base(program.interp)
	if arch, isMusl := strings.CutPrefix(name, "ld-musl-"); isMusl {
		// /lib/ld-musl-x86_64.so.1 reads /etc/…, /opt/musl/lib/… reads /opt/musl/etc/….
		prefix := path.Join(path.Dir(path.Dir(program.interp)), "etc")
		return s.readMusl(prefix + "/ld-musl-" + strings.TrimSuffix(arch, ".so.1") + ".path")
	}
	for _, level := range hwcaps[program.machine] {
		s.levels = append(s.levels, "/glibc-hwcaps/"+level)
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

// addSearchFiles adds the files that tell the interpreter where to look,
// if a library is where it would not look without them.
func (c *Closure) addSearchFiles(s *search, objects []*object) error {
	needed := slices.ContainsFunc(objects[1:], func(library *object) bool {
		dir, _, _ := strings.Cut(library.origin, "/glibc-hwcaps/")
		return !slices.Contains(s.builtin, dir) && slices.Contains(s.configured, dir)
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
