// Control files. A limit is set by one open, one write and one close; the
// kernel checks the value during the write and answers with an errno. Package
// os would also register each file with the runtime's poller, which costs more
// than the write, so these are the plain system calls.

package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// write writes value to dir/file in a single write(2): the kernel takes each
// write for a whole command.
func write(dir, file, value string) error {
	fd, err := unix.Open(dir+"/"+file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = writeFd(fd, value)
		unix.Close(fd)
	}
	return writeError(dir, file, value, err)
}

// writeFd writes value to an open control file. Lowering a v1 memory limit
// frees pages meanwhile and gives up with EINTR when a signal comes, such as
// the SIGURG with which the Go runtime preempts a thread (golang.org/issue/38033).
func writeFd(fd int, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			return err
		}
	}
}

// writeError says what could not be written where, and the usual cause.
func writeError(dir, file, value string, err error) error {
	if err == nil {
		return nil
	}
	told := fmt.Errorf("cgroup: write %q to %q: %w", value, dir+"/"+file, err)
	return hint.Add(told, advice(file, err))
}

// advice returns the usual cause of an error on a control file.
func advice(file string, err error) string {
	switch {
	case err == unix.EROFS:
		return "the cgroup file system is mounted read-only here"
	case err == unix.ENOENT && file != "cgroup.procs":
		return "the group is gone, or this kernel was built without that file"
	}
	for _, a := range [...]struct {
		file string
		err  unix.Errno
		text string
	}{
		{"memory.limit_in_bytes", unix.EBUSY, "the group uses more memory than that, and the kernel could not free enough"},
		{"memory.max", unix.EBUSY, "the group uses more memory than that; a lower limit would start the OOM killer"},
		{"memory.limit_in_bytes", unix.EINVAL, "memory alone cannot be allowed more than memory and swap together"},
		{"memory.memsw.limit_in_bytes", unix.EINVAL, "memory and swap together cannot be allowed less than memory alone"},
		{"cpu.cfs_quota_us", unix.EINVAL, "the quota is at least 1000 µs, and quota/period at most that of the parent group"},
		{"cpuset.cpus", unix.EACCES, "those processors are not in the parent group's cpuset.cpus"},
		{"cpuset.mems", unix.EACCES, "those memory nodes are not in the parent group's cpuset.mems"},
		{"cgroup.procs", unix.ENOSPC, "the group's cpuset.cpus or cpuset.mems is empty"},
		{"cgroup.procs", unix.EBUSY, "a v2 group that hands controllers to its children holds no processes itself (cgroups(7), \"no internal processes\")"},
		{"cgroup.subtree_control", unix.EBUSY, "a v2 group with processes of its own cannot hand controllers to its children (cgroups(7), \"no internal processes\")"},
		{"cgroup.procs", unix.ESRCH, "the process has ended already"},
		{"devices.allow", unix.EPERM, "a parent group does not allow that device"},
	} {
		if a.file == file && a.err == err {
			return a.text
		}
	}
	return ""
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
func readAll(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
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

// exists reports whether dir/file is there.
func exists(dir, file string) bool {
	return unix.Access(dir+"/"+file, unix.F_OK) == nil
}

// key returns the number behind key in a file of "key number" lines.
func key(text, key string) (uint64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			n, err := strconv.ParseUint(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// errNotThere reports whether err says that a file or group is gone.
func errNotThere(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV)
}
