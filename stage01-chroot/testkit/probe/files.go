package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What this process sees of files: the directory that it is in, the root, the
// mounts, its open descriptors. See path_resolution(7), proc_pid_mountinfo(5).

// cwd asks getcwd(2), not $PWD. The kernel writes "(unreachable)" before a
// directory outside the root: the sign of CVE-2024-21626.
func cwd(out io.Writer) error {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buffer)
	if err != nil {
		return fmt.Errorf("getcwd: %w", err)
	}
	fmt.Fprintln(out, "cwd", string(buffer[:n-1]))
	return nil
}

func root(out io.Writer) error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join("/", entry.Name())
		info, err := entry.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprint("root ", info.Mode(), " ", name)
		if target, err := os.Readlink(name); err == nil {
			line += " -> " + target
		}
		fmt.Fprintln(out, line)
	}
	return nil
}

// mounts prints a line of mountinfo, "36 35 98:0 /root /point options tags… -
// type source super", without its numbers and source, which are the host's.
func mounts(out io.Writer) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		head, tail, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(head), strings.Fields(tail)
		if len(left) < 6 || len(right) < 1 {
			return fmt.Errorf("not a mount: %q", line)
		}
		fmt.Fprintln(out, "mount", left[4], right[0], left[5])
	}
	return nil
}

// descriptors prints what is open on entry. The descriptor that reads the list
// is closed again when its link is looked up, and the Go runtime's own (epoll,
// and cpu limits that it watches) are opened after the start, close-on-exec.
func descriptors(out io.Writer) error {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(fdOf(a), fdOf(b)) })
	for _, entry := range entries {
		fd := fdOf(entry)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // opened by this program: an inherited one lost the flag at exec
		}
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "descriptor", fd, target)
	}
	return nil
}

// fdOf is the number that an entry of /proc/self/fd has as its name.
func fdOf(entry os.DirEntry) int {
	fd, err := strconv.Atoi(entry.Name())
	if err != nil {
		return -1
	}
	return fd
}

// umask can be asked for only by setting another one: umask(2).
func umask(out io.Writer) error {
	mask := unix.Umask(0)
	unix.Umask(mask)
	fmt.Fprintf(out, "umask %04o\n", mask)
	return nil
}
