package rootfs

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// What an archive may come to. A few megabytes, compressed or with holes, can
// unpack to more than any disk holds: CVE-2025-58183.

// The limits of FromTar.
const (
	DefaultMaxBytes  = 64 << 30 // 64 GiB: several times the largest images in use
	DefaultMaxInodes = 2 << 20  // 2 Mi: many times what a whole distribution installs
)

// Limits are for an archive that somebody else made. The zero value has the
// defaults.
type Limits struct {
	// MaxBytes limits the sizes of all files together, where a hole counts as
	// if it were written, and, apart from that, the length of the archive,
	// uncompressed. 0 means DefaultMaxBytes, a negative number no limit.
	MaxBytes int64

	// MaxInodes limits the number of entries, and of directories that are made
	// because an entry is in them. 0 means DefaultMaxInodes, a negative number
	// no limit.
	MaxInodes int64
}

// budget is what is left of the limits.
type budget struct {
	limits         Limits
	bytes, inodes  int64
	archive        io.Reader
	ofArchive, end int64 // what of the archive was read, and may be read
}

func newBudget(limits Limits, archive io.Reader) *budget {
	limits.MaxBytes = orDefault(limits.MaxBytes, DefaultMaxBytes)
	limits.MaxInodes = orDefault(limits.MaxInodes, DefaultMaxInodes)
	return &budget{
		limits: limits, bytes: limits.MaxBytes, inodes: limits.MaxInodes, archive: archive, end: limits.MaxBytes,
	}
}

func orDefault(asked, usual int64) int64 {
	switch {
	case asked == 0:
		return usual
	case asked < 0:
		return 1<<63 - 1
	}
	return asked
}

// take takes a number of files with so many bytes off the budget.
func (b *budget) take(inodes, bytes int64) error {
	if inodes > b.inodes {
		return tooMuch(fmt.Errorf("the archive has more than %d files: %w", b.limits.MaxInodes, unix.EDQUOT))
	}
	if bytes > b.bytes {
		return tooMuch(fmt.Errorf("%d more bytes are more than %d in all: %w", bytes, b.limits.MaxBytes, unix.EFBIG))
	}
	b.inodes -= inodes
	b.bytes -= bytes
	return nil
}

// Read reads the archive, as far as it may be read.
func (b *budget) Read(p []byte) (int, error) {
	n, err := b.archive.Read(p)
	if b.ofArchive += int64(n); b.ofArchive > b.end {
		return n, tooMuch(fmt.Errorf("the archive is longer than %d bytes: %w", b.end, unix.EFBIG))
	}
	return n, err
}

func tooMuch(err error) error {
	return hint.Add(err, "if you trust whoever made the archive, set higher Limits")
}
