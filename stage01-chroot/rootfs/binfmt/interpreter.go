package binfmt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What the kernel reads of a program before it runs it: its first bytes, and in
// these, or in a segment, who is to run it instead.

// startSize is how much of a file the kernel looks at to tell what it is, and
// so the longest "#!" line (BINPRM_BUF_SIZE).
const startSize = 256

// Start reads the first bytes of a program.
func Start(file io.Reader) ([]byte, error) {
	start := make([]byte, startSize)
	n, err := io.ReadFull(file, start)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // a short file
	}
	return start[:n], err
}

// Shebang cuts "#! interpreter argument" as the kernel does (fs/
// binfmt_script.c): the argument is all the rest of the line.
func Shebang(start []byte) (interpreter, argument string) {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(start, []byte("#!")), []byte("\n"))
	text := strings.Trim(string(line), " \t")
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i], strings.TrimLeft(text[i:], " \t")
	}
	return text, ""
}

// IsELF tells whether a program that starts so is for fs/binfmt_elf.c.
func IsELF(start []byte) bool { return bytes.HasPrefix(start, []byte("\x7fELF")) }

// ELF returns the number of the machine that a program is for, and the path in its
// PT_INTERP segment, "" without one. The kernel takes at most PATH_MAX bytes.
//
// What is looked at are a few numbers: elf(5). Package debug/elf, which knows much
// more, brings the decompression of debugging information along, and so makes each
// start of skiff-oci slower.
func ELF(file io.ReaderAt) (machine uint16, interpreter string, err error) {
	damaged := func(what string) error { return fmt.Errorf("its %s cannot be read: %w", what, unix.ENOEXEC) }
	header := make([]byte, 64) // struct Elf64_Ehdr; Elf32_Ehdr has 52
	if n, _ := file.ReadAt(header, 0); n < 52 || !IsELF(header) {
		return 0, "", damaged("ELF header")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if header[5] == 2 { // ELFDATA2MSB
		order = binary.BigEndian
	}
	wide, counts, offset := header[4] == 2, header[42:], 4 // ELFCLASS64
	word := func(b []byte) int64 { return int64(order.Uint32(b)) }
	table, filesz := word(header[28:]), 16
	if wide {
		counts, offset, filesz = header[54:], 8, 32
		word = func(b []byte) int64 { return int64(order.Uint64(b)) }
		table = word(header[32:])
	}
	size, count := int(order.Uint16(counts)), int(order.Uint16(counts[2:]))
	segments := make([]byte, size*count)
	if n, _ := file.ReadAt(segments, table); n < len(segments) || size < filesz+8 {
		return 0, "", damaged("program headers")
	}
	machine = order.Uint16(header[18:])
	for segment := range slices.Chunk(segments, size) {
		if order.Uint32(segment) != 3 { // PT_INTERP
			continue
		}
		text := make([]byte, min(uint64(word(segment[filesz:])), unix.PathMax+1))
		if n, _ := file.ReadAt(text, word(segment[offset:])); n < len(text) || n > unix.PathMax {
			return 0, "", damaged("interpreter's name")
		}
		return machine, strings.TrimRight(string(text), "\x00"), nil
	}
	return machine, "", nil
}
