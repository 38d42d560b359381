package rootfs

import (
	"debug/elf"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// The libraries of an ELF program. The kernel loads only the program and the
// interpreter that its PT_INTERP segment names; that one, ld.so(8), loads the
// libraries of DT_NEEDED, and theirs, breadth first. Here the same is done
// without running anything: `ldd` may run the program that it looks at.

// object is a program or a library, as far as loading is concerned.
type object struct {
	dynamic
	path    string  // where it was found, on the host
	origin  string  // the directory that it was found in, which $ORIGIN stands for
	loader  *object // the object that needed this one first; nil for the program
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
		return hint.Add(fmt.Errorf("%s: %w", why, err), "the program does not run here either; it is built for another C library")
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
			libraries, err := search.find(name, objects[i])
			if err != nil {
				return nil, err
			}
			for _, library := range libraries {
				loaded[name], loaded[library.soname] = true, true
			}
			objects = append(objects, libraries...)
		}
	}
	return objects, nil
}

// readObject reads an ELF file.
func readObject(name string) (*object, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	defer opened.Close()
	file, err := elf.NewFile(opened)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	o := &object{path: name, origin: name[:strings.LastIndexByte(name, '/')], class: file.Class, machine: file.Machine}
	if _, o.interp, err = binfmt.ELF(opened); err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if o.dynamic, err = readDynamic(file); err != nil {
		return nil, fmt.Errorf("read libraries of %q: %w", name, err)
	}
	o.lookups, err = looksNamesUp(file)
	if err != nil {
		return nil, fmt.Errorf("read symbols of %q: %w", name, err)
	}
	return o, nil
}

// notFound is the error for a library that is nowhere.
func notFound(name string, by *object, tried []string) error {
	return hint.Add(fmt.Errorf("library %q, needed by %q, is in none of %s: %w",
		name, by.path, strings.Join(tried, ":"), unix.ENOENT),
		"does the program run here? `ldd "+by.path+"` shows what the host's own loader finds")
}
