package oci

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The proc file system of the host, through which a process tells the kernel things
// about itself and its namespaces: labels and kernel parameters. proc(5).

// A hostProc is the root of the host's /proc, open. The process inherits it, and so
// never looks for /proc where the container or its image may have put something else
// (CVE-2019-16884, CVE-2019-19921): a write that succeeds somewhere else leaves the
// container unconfined without a word, or changes the host (CVE-2025-52881). The zero
// value is not open.
//
// It shows each process what is its own: "self" is a link to its number in the pid
// namespace of this /proc, whichever it is in itself, and the parameters below sys are
// those of its namespaces.
type hostProc struct{ file *os.File }

// open opens it, and makes sure that it is one.
func (h *hostProc) open() error {
	const rootOfProc = 1 // the inode number, PROC_ROOT_INO in the kernel
	if h.file != nil {
		return nil
	}
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /proc: %w", err)
	}
	h.file = os.NewFile(uintptr(fd), "/proc")
	var fs unix.Statfs_t
	var top unix.Stat_t
	if err := errors.Join(unix.Fstatfs(fd, &fs), unix.Fstat(fd, &top)); err != nil {
		return fmt.Errorf("look at /proc: %w", err)
	}
	if fs.Type != unix.PROC_SUPER_MAGIC || top.Ino != rootOfProc {
		return errors.New("/proc is not a proc file system: what is meant for the kernel would be written elsewhere")
	}
	return nil
}

// close gives back what the steps need open.
func (h *hostProc) close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

// write gives the steps that write a text to a file of it. Between its root and the
// file nothing may be mounted, and no link may lead to an open file.
func (h *hostProc) write(p *plan.Plan, file, text, doing string, a ...any) (open, write, done plan.Step) {
	to, proc := p.Register("kernels_file"), plan.Descriptor{Number: int(h.file.Fd()), Name: "proc"}
	how := unix.OpenHow{
		Flags:   unix.O_WRONLY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	}
	open = plan.Openat2(proc, file, how).Into(to).Doing(doing, a...).
		Hint(unix.EXDEV, "something is mounted over /proc/"+file+" of this machine")
	return open, plan.Write(to, text).Doing(doing, a...), plan.Close(to)
}
