package lines

// This file asks the linker which functions are in a program. Their machine
// code is not the whole answer, because the compiler puts small functions into
// their callers; the debugging information has these, too (DWARF 5, section
// 3.3.8: an inlined subroutine has the function that it came from as its
// abstract origin).

import (
	"debug/dwarf"
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
)

// link builds the program in folder dir and returns the functions in it.
func link(dir string, flags []string) (map[string]bool, error) {
	folder, err := os.MkdirTemp("", "lines")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "program")
	if _, err := command(dir, "build", flags, "-o", program); err != nil {
		return nil, err
	}
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := file.DWARF()
	if err != nil {
		return nil, err
	}
	return functions(data)
}

// within is what the name of a linked function has more than its declaration:
// the types of an instance, and the number of a function literal within.
var within = regexp.MustCompile(`\[.*\]|\.(func|gowrap|deferwrap)[0-9].*|-range[0-9]+|-fm`)

// functions returns the names of all functions that have code in the program,
// as functions of their own or inlined. A function literal stands for the
// function around it.
func functions(data *dwarf.Data) (map[string]bool, error) {
	names, linked := map[dwarf.Offset]string{}, map[string]bool{}
	var inlined []dwarf.Offset
	r := data.Reader()
	for {
		entry, err := r.Next()
		if err != nil {
			return nil, err
		}
		if entry == nil {
			break
		}
		origin, hasOrigin := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		name, hasName := entry.Val(dwarf.AttrName).(string)
		hasCode := entry.Val(dwarf.AttrLowpc) != nil
		switch {
		case entry.Tag == dwarf.TagInlinedSubroutine, entry.Tag == dwarf.TagSubprogram && hasCode && hasOrigin:
			inlined = append(inlined, origin)
		case entry.Tag == dwarf.TagSubprogram && hasName:
			name = within.ReplaceAllString(name, "")
			names[entry.Offset] = name
			linked[name] = linked[name] || hasCode
		}
	}
	for _, origin := range inlined {
		linked[names[origin]] = true
	}
	return linked, nil
}
