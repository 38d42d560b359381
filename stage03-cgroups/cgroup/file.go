// Control files. A limit is set by one open, one write and one close; the
// kernel checks the value during the write and answers with an errno. Package
// os would also register each file with the runtime's poller, which costs more
// than the write, so these are the plain system calls.

package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// write writes value to dir/file in a single write(2): the kernel takes each
// write for a whole command.
func write(dir, file, value string) error {
	return writeError(dir, file, value, writeAt(unix.AT_FDCWD, dir+"/"+file, value))
}

// writeAt is write to a file below an open directory. Its error is the bare
// errno.
func writeAt(dir int, file, value string) error {
	fd, err := openControl(dir, file)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeFd(fd, value)
}

// openControl opens a control file as the shell's >> does. To the kernel it
// is the same as >, but in an ordinary folder that stands for a group, each
// write leaves a line.
func openControl(dir int, file string) (int, error) {
	return unix.Openat(dir, file, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
}

// nothing is an empty value, which takes back what cpuset.cpus said, for example.
const nothing = "\n"

// writeFd writes value to an open control file, and a newline as echo does: a
// write of no bytes would reach no file. Lowering a v1
// memory limit frees pages meanwhile and gives up with EINTR when a signal
// comes, such as the SIGURG with which the Go runtime preempts a thread
// (golang.org/issue/38033).
func writeFd(fd int, value string) error {
	for {
		_, err := unix.Write(fd, []byte(strings.TrimSuffix(value, nothing)+"\n"))
		if err != unix.EINTR {
			return err
		}
	}
}

// read returns what is in dir/file, without the space around it.
func read(dir, file string) (string, error) {
	text, err := readAll(dir + "/" + file)
	if err != nil {
		return "", fmt.Errorf("cgroup: read %q: %w", dir+"/"+file, err)
	}
	return strings.TrimSpace(text), nil
}

// readAll reads a whole file. Its error is the bare errno.
func readAll(name string) (string, error) { return readAt(unix.AT_FDCWD, name) }

// readAt is readAll for a file below an open directory.
func readAt(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case n == 0:
			return string(text), nil
		default:
			text = append(text, buf[:n]...)
		}
	}
}

// exists reports whether dir/file is there. What cannot be looked at for another
// reason is: whoever then opens it says why.
func exists(dir, file string) bool {
	return !errNotThere(unix.Access(dir+"/"+file, unix.F_OK))
}

// errNotThere reports whether err says that a file or group is gone.
func errNotThere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
