package rootfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/inroot"
)

// The contents of a file with its holes: lseek(2), SEEK_DATA and SEEK_HOLE. A
// disk image of 100 GB may have one in it, and copied as zeros it would have
// 100. What is between holes goes from file to file in the kernel, or is shared
// where the file system can: io.Copy calls copy_file_range(2).

// copyFile makes a file with the contents of another.
func copyFile(target *os.File, base string, handle *os.File) error {
	from, err := inroot.Reopen(handle, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := inroot.Create(target, base, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyContents(to, from), to.Close())
}

// copyContents copies from data to data. A file that becomes shorter meanwhile
// is an error, one that grows is cut.
func copyContents(to, from *os.File) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	for end := int64(0); end < info.Size(); {
		start, err := from.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole is left
		}
		if err != nil {
			return err
		}
		if end, err = from.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(to, from, start, min(end, info.Size())); err != nil {
			return err
		}
	}
	return to.Truncate(info.Size())
}

func copyRange(to, from *os.File, start, end int64) error {
	for _, file := range []*os.File{to, from} {
		if _, err := file.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	_, err := io.CopyN(to, from, max(end-start, 0))
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
