package rootfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
)

// The dynamic section, read as ld.so does: elf(5). A list of tags and values
// lies in the PT_DYNAMIC segment; those that stand for a text are offsets into
// the string table, of which the list has the address in memory. Sections,
// which debug/elf goes by, are for linkers: a program runs without them.

// dynamic is what the list says about libraries.
type dynamic struct {
	needed  []string // DT_NEEDED: names of libraries
	rpath   []string // DT_RPATH: where to look for them
	runpath []string // DT_RUNPATH: the same, with other rules
	soname  string   // DT_SONAME: the name by which others need this one
	flags1  uint64   // DT_FLAGS_1
}

// errDynamic is the error for a list that leads out of the file.
var errDynamic = errors.New("the dynamic section is damaged")

// readDynamic reads the list of a file; a static program has an empty one.
func readDynamic(file *elf.File) (dynamic, error) {
	var d dynamic
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_DYNAMIC {
			continue
		}
		values, err := readTags(file, segment)
		if err != nil {
			return d, err
		}
		if flags := values[elf.DT_FLAGS_1]; len(flags) > 0 {
			d.flags1 = flags[0]
		}
		return d, d.readTexts(file, values)
	}
	return d, nil
}

// readTags reads the list up to DT_NULL. A number has four or eight bytes.
func readTags(file *elf.File, segment *elf.Prog) (map[elf.DynTag][]uint64, error) {
	data, err := readWithin(segment, 0, segment.Filesz)
	if err != nil {
		return nil, err
	}
	size, number := 8, file.ByteOrder.Uint64
	if file.Class == elf.ELFCLASS32 {
		size, number = 4, func(b []byte) uint64 { return uint64(file.ByteOrder.Uint32(b)) }
	}
	values := map[elf.DynTag][]uint64{}
	for ; len(data) >= 2*size; data = data[2*size:] {
		tag := elf.DynTag(number(data))
		if tag == elf.DT_NULL {
			break
		}
		values[tag] = append(values[tag], number(data[size:]))
	}
	return values, nil
}

// readTexts looks the texts up in the string table.
func (d *dynamic) readTexts(file *elf.File, values map[elf.DynTag][]uint64) error {
	var sonames []string
	for tag, texts := range map[elf.DynTag]*[]string{
		elf.DT_NEEDED: &d.needed, elf.DT_RPATH: &d.rpath, elf.DT_RUNPATH: &d.runpath, elf.DT_SONAME: &sonames,
	} {
		if len(values[tag]) == 0 {
			continue
		}
		table, err := stringTable(file, values)
		if err != nil {
			return err
		}
		for _, offset := range values[tag] {
			if offset >= uint64(len(table)) {
				return fmt.Errorf("%w: %v is at %d of %d bytes", errDynamic, tag, offset, len(table))
			}
			text, _, _ := bytes.Cut(table[offset:], []byte{0})
			*texts = append(*texts, string(text))
		}
	}
	if len(sonames) > 0 {
		d.soname = sonames[0]
	}
	return nil
}

// stringTable reads DT_STRSZ bytes at the address DT_STRTAB, which is in one of
// the segments that are loaded.
func stringTable(file *elf.File, values map[elf.DynTag][]uint64) ([]byte, error) {
	at, size := values[elf.DT_STRTAB], values[elf.DT_STRSZ]
	if len(at) == 0 || len(size) == 0 {
		return nil, fmt.Errorf("%w: it has no string table", errDynamic)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_LOAD && at[0] >= segment.Vaddr && at[0]-segment.Vaddr < segment.Filesz {
			return readWithin(segment, at[0]-segment.Vaddr, size[0])
		}
	}
	return nil, fmt.Errorf("%w: its string table is nowhere", errDynamic)
}

// readWithin reads a part of a segment. What it says about itself may be wrong,
// so that it is not believed about how much memory to take.
func readWithin(segment *elf.Prog, offset, size uint64) ([]byte, error) {
	const most = 64 << 20 // the largest of a distribution have 2 MiB
	if size > most || offset > segment.Filesz || size > segment.Filesz-offset {
		return nil, fmt.Errorf("%w: %d bytes at %d of a segment of %d", errDynamic, size, offset, segment.Filesz)
	}
	data := make([]byte, size)
	if _, err := segment.ReadAt(data, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: the file ends in it", errDynamic)
	}
	return data, nil
}
