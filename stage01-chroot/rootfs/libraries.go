package rootfs

import (
	"debug/elf"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// The libraries of an ELF program. The kernel loads only the program and the
// interpreter that its PT_INTERP segment names; that one, ld.so(8), loads the
// libraries of DT_NEEDED, and theirs, breadth first. Here the same is done
// without running anything: `ldd` may run the program that it looks at.

// object is a program or a library, as far as loading is concerned: elf(5).
type object struct {
	path    string   // where it was found, on the host
	origin  string   // the directory that it was found in, which $ORIGIN stands for
	soname  string   // the name by which others need it, DT_SONAME
	needed  []string // the names that it needs, DT_NEEDED
	rpath   []string // where to look for these, DT_RPATH,
	runpath []string // or DT_RUNPATH
	loader  *object  // the object that needed this one first; nil for the program
	class   elf.Class
	machine elf.Machine
	interp  string // PT_INTERP, of a program
	lookups bool   // it calls functions that look up names (nss.go)
}

// addLibraries adds the interpreter and the libraries of the ELF program that
// was found at name, and that is the file source.
func (c *Closure) addLibraries(name, source string) error {
	program, err := readObject(source)
	if err != nil {
		return err
	}
	if program.interp == "" {
		return nil // a static program
	}
	why := "interpreter of " + name
	if _, err := c.addPath(program.interp, why); err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	search, err := newSearch(program)
	if err != nil {
		return err
	}
	objects, err := load(program, search)
	if err != nil {
		return err
	}
	for _, library := range objects[1:] {
		if _, err := c.addPath(library.path, "needed by "+library.loader.path); err != nil {
			return err
		}
	}
	if err := c.addSearchFiles(search, objects); err != nil {
		return err
	}
	return c.addNameService(search, objects)
}

// load finds the libraries of a program in the order in which ld.so does, and
// returns the program and them.
func load(program *object, search *search) ([]*object, error) {
	objects := []*object{program}
	loaded := map[string]bool{path.Base(program.interp): true} // ld.so itself is loaded already
	for i := 0; i < len(objects); i++ {
		for _, name := range objects[i].needed {
			if loaded[name] || search.isInterpreter(name) {
				continue
			}
			library, err := search.find(name, objects[i])
			if err != nil {
				return nil, err
			}
			loaded[name], loaded[library.soname] = true, true
			objects = append(objects, library)
		}
	}
	return objects, nil
}

// readObject reads an ELF file.
func readObject(name string) (*object, error) {
	file, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	defer file.Close()
	o := &object{path: name, origin: name[:strings.LastIndexByte(name, '/')], class: file.Class, machine: file.Machine}
	if o.interp, err = interpreterOf(file); err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if file.SectionByType(elf.SHT_DYNAMIC) == nil {
		return o, nil
	}
	for tag, list := range map[elf.DynTag]*[]string{
		elf.DT_NEEDED: &o.needed, elf.DT_RPATH: &o.rpath, elf.DT_RUNPATH: &o.runpath,
	} {
		if *list, err = file.DynString(tag); err != nil {
			return nil, fmt.Errorf("read %s of %q: %w", tag, name, err)
		}
	}
	if names, err := file.DynString(elf.DT_SONAME); err == nil && len(names) == 1 {
		o.soname = names[0]
	}
	o.lookups, err = looksNamesUp(file)
	if err != nil {
		return nil, fmt.Errorf("read symbols of %q: %w", name, err)
	}
	return o, nil
}

// interpreterOf returns the path in the PT_INTERP segment, "" without one. The
// kernel takes at most PATH_MAX bytes (fs/binfmt_elf.c).
func interpreterOf(file *elf.File) (string, error) {
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		if segment.Filesz > unix.PathMax {
			return "", fmt.Errorf("interpreter's path of %d bytes: %w", segment.Filesz, unix.ENOEXEC)
		}
		text := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(text, 0); err != nil {
			return "", err
		}
		return strings.TrimRight(string(text), "\x00"), nil
	}
	return "", nil
}

// notFound is the error for a library that is nowhere.
func notFound(name string, by *object, tried []string) error {
	return hint.Add(fmt.Errorf("library %q, needed by %q, is in none of %s: %w",
		name, by.path, strings.Join(tried, ":"), unix.ENOENT),
		"does the program run here? `ldd "+by.path+"` shows what the host's own loader finds")
}
