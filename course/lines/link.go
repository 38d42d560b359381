package lines

// This file asks the linker which functions are in a program: those in the symbol
// table, elf(5). The compiler is told to put no function into its callers, or the
// small ones would be missing there.

import (
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
)

// link builds the program in folder dir, of the packages below ours, and returns
// the functions in it.
func link(dir, ours string) (map[string]bool, error) {
	folder, err := os.MkdirTemp("", "lines")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "program")
	if _, err := command(dir, "build", "-gcflags="+ours+"/...=-l", "-o", program); err != nil {
		return nil, err
	}
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	linked := map[string]bool{}
	for _, s := range symbols {
		linked[within.ReplaceAllString(s.Name, "")] = true
	}
	return linked, nil
}

// within is what the name of a linked function has more than its declaration: the
// types of an instance, and the number of a function literal in it, which stands for
// the function around it.
var within = regexp.MustCompile(`\[.*\]|\.(func|gowrap|deferwrap)[0-9].*|-range[0-9]+|-fm`)
