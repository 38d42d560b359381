package rootfs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"skiff.example/stage01-chroot/hint"
)

// Compressed archives are known by their first bytes: RFC 1952 for gzip. The
// others are refused by name, since "invalid tar header" helps nobody.

// ErrCompressed is the error for an archive in a compression that FromTar does
// not know; the hint is the program that does.
var ErrCompressed = errors.New("the archive is compressed")

// decompress returns an archive as it was before gzip(1), if it was.
func decompress(archive io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(archive)
	start, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) { // shorter: tar will say so
		return nil, err
	}
	if bytes.HasPrefix(start, []byte("\x1f\x8b")) {
		return gzip.NewReader(buffered)
	}
	for magic, program := range map[string]string{
		"\x28\xb5\x2f\xfd": "zstd", "\xfd7zXZ\x00": "xz", "BZh": "bzip2", "\x04\x22\x4d\x18": "lz4",
	} {
		if bytes.HasPrefix(start, []byte(magic)) {
			return nil, hint.Add(fmt.Errorf("%w with %s", ErrCompressed, program), "decompress it first: "+program+" -d")
		}
	}
	return buffered, nil
}
