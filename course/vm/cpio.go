package vm

// This file writes the initramfs, an archive that the kernel unpacks into its
// first file system: cpio(5), the format called newc, as
// driver-api/early-userspace/buffer-format.rst in the kernel's documentation
// has it. A header of 110 characters, the name, the contents, each padded to
// four bytes; all numbers are eight hexadecimal digits.

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs"
)

// writeCPIO writes the files as an archive. The same files give the same
// bytes: owners are root, times 1970-01-01, inode numbers count from 1.
func writeCPIO(w io.Writer, files []rootfs.File) error {
	a := &archive{w: w}
	for _, f := range files {
		if err := a.add(f); err != nil {
			return fmt.Errorf("initramfs: %q: %w", f.Name, err)
		}
	}
	return a.entry("TRAILER!!!", 0, 0, nil)
}

// archive is a cpio archive that is being written.
type archive struct {
	w     io.Writer
	inode int
}

// add writes a file with its contents.
func (a *archive) add(f rootfs.File) error {
	switch f.Mode.Type() {
	case fs.ModeDir:
		return a.entry(f.Name, mode(f.Mode)|unix.S_IFDIR, 0, nil)
	case fs.ModeSymlink:
		return a.entry(f.Name, 0o777|unix.S_IFLNK, len(f.Link), []byte(f.Link))
	case 0:
		data := f.Data
		if f.Source != "" {
			var err error
			if data, err = os.ReadFile(f.Source); err != nil {
				return err
			}
		}
		return a.entry(f.Name, mode(f.Mode)|unix.S_IFREG, len(data), data)
	}
	return fmt.Errorf("a file of type %s: %w", f.Mode.Type(), fs.ErrInvalid)
}

// entry writes one entry of the archive.
func (a *archive) entry(name string, mode uint32, size int, data []byte) error {
	a.inode++
	const links, root, time, device, checksum = 1, 0, 0, 0, 0
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, root, root, links, time, size, device, device, device, device, len(name)+1, checksum, name)
	if err := a.padded([]byte(header)); err != nil {
		return err
	}
	return a.padded(data)
}

// padded writes data, and zeros up to the next multiple of four.
func (a *archive) padded(data []byte) error {
	if _, err := a.w.Write(data); err != nil {
		return err
	}
	_, err := a.w.Write(make([]byte, -len(data)&3))
	return err
}

// mode returns the bits that chmod(2) knows.
func mode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{
		fs.ModeSetuid: unix.S_ISUID, fs.ModeSetgid: unix.S_ISGID, fs.ModeSticky: unix.S_ISVTX,
	} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// regular plans a file that is copied from one of the host.
func regular(name, source string, mode fs.FileMode) rootfs.File {
	return rootfs.File{Name: name, Mode: mode, Source: source, Why: "the machine"}
}

// directory plans a directory.
func directory(name string) rootfs.File {
	return rootfs.File{Name: name, Mode: fs.ModeDir | 0o755, Why: "the machine"}
}
