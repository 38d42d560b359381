package binfmt

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
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

// Interpreter returns the path in the PT_INTERP segment, "" without one. The
// kernel takes at most PATH_MAX bytes (fs/binfmt_elf.c).
func Interpreter(file *elf.File) (string, error) {
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
