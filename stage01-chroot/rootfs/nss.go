package rootfs

import (
	"debug/elf"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Names of users and hosts. glibc looks them up through modules that it loads
// only then, so that no DT_NEEDED tells of them: nss(5). Since glibc 2.34 the
// two that matter here, "files" and "dns", are part of libc.so.6 itself.

// nameFunctions are the functions of the C library that load modules.
var nameFunctions = []string{
	"getpwnam", "getpwnam_r", "getpwuid", "getpwuid_r", "getpwent", "getgrnam", "getgrnam_r", "getgrgid",
	"getgrgid_r", "getgrouplist", "initgroups", "getaddrinfo", "gethostbyname", "gethostbyname2", "getservbyname",
}

// looksNamesUp reports whether a program or a library calls one of them.
func looksNamesUp(file *elf.File) (bool, error) {
	symbols, err := file.ImportedSymbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return false, nil
	}
	return slices.ContainsFunc(symbols, func(s elf.ImportedSymbol) bool {
		return slices.Contains(nameFunctions, s.Name)
	}), err
}

// addNameService adds the modules, if one of the objects needs them and the C
// library among them does not have them built in.
func (c *Closure) addNameService(s *search, objects []*object) error {
	libc := slices.IndexFunc(objects, func(o *object) bool { return o.soname == "libc.so.6" })
	caller := slices.IndexFunc(objects, func(o *object) bool { return o.lookups })
	if libc < 0 || caller < 0 {
		return nil
	}
	builtin, err := hasNameService(objects[libc].path)
	if builtin || err != nil {
		return err
	}
	for _, name := range []string{"libnss_files.so.2", "libnss_dns.so.2"} {
		modules, err := s.find(name, objects[libc])
		if err != nil {
			return err
		}
		for _, module := range modules {
			why := "looks up names for " + objects[caller].path
			if _, err := c.addPath(module.path, why); err != nil {
				return fmt.Errorf("add %q: %w", filepath.Base(module.path), err)
			}
		}
	}
	return nil
}

// hasNameService reports whether a libc.so.6 has the module "files" in it.
func hasNameService(libc string) (bool, error) {
	file, err := elf.Open(libc)
	if err != nil {
		return false, err
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	return slices.ContainsFunc(symbols, func(s elf.Symbol) bool {
		return s.Section != elf.SHN_UNDEF && strings.HasPrefix(s.Name, "_nss_files_getpwnam")
	}), err
}
