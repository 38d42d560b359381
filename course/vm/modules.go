package vm

// This file finds a kernel's modules and the order in which they load. A
// module says itself which others it needs, in the section .modinfo of its
// file; depmod(8), which packages run when they are installed, reads the same.

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// moduleFiles returns the files of the modules called wanted, in tree
// (/lib/modules/RELEASE), each after those that it needs. What is built into
// the kernel needs no file.
func moduleFiles(tree string, wanted []string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(tree, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(file) == ".ko" {
			files[moduleName(file)] = file
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for file := range strings.Lines(string(builtin)) {
		files[moduleName(strings.TrimSpace(file))] = ""
	}
	o := &loadOrder{files: files, seen: map[string]bool{}}
	for _, name := range wanted {
		if err := o.add(name); err != nil {
			return nil, err
		}
	}
	return o.order, nil
}

// moduleName returns a module's name, in which a dash and an underscore are
// the same: modprobe(8).
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// loadOrder is a list of modules that grows.
type loadOrder struct {
	files map[string]string // a module's name → its file, "" if it is built in
	seen  map[string]bool
	order []string
}

// add appends a module after all that it needs.
func (o *loadOrder) add(name string) error {
	name = moduleName(name)
	if o.seen[name] {
		return nil
	}
	o.seen[name] = true
	file, found := o.files[name]
	if !found {
		return fmt.Errorf("the kernel has no module %q", name)
	}
	if file == "" {
		return nil
	}
	needs, err := modinfo(file, "depends")
	if err != nil {
		return err
	}
	for need := range strings.SplitSeq(needs, ",") {
		if need == "" {
			continue
		}
		if err := o.add(need); err != nil {
			return fmt.Errorf("module %q: %w", name, err)
		}
	}
	o.order = append(o.order, file)
	return nil
}

// modinfo returns a value of the section .modinfo, which is a list of
// "key=value", each ended by a zero byte.
func modinfo(file, key string) (string, error) {
	object, err := elf.Open(file)
	if err != nil {
		return "", err
	}
	defer object.Close()
	section := object.Section(".modinfo")
	if section == nil {
		return "", fmt.Errorf("%q is no module: it has no section .modinfo", file)
	}
	data, err := section.Data()
	if err != nil {
		return "", fmt.Errorf("read %q: %w", file, err)
	}
	for field := range strings.SplitSeq(string(data), "\x00") {
		if value, found := strings.CutPrefix(field, key+"="); found {
			return value, nil
		}
	}
	return "", nil
}
