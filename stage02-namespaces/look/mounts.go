package look

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The mounts that a process sees: /proc/PID/mountinfo, proc_pid_mountinfo(5).

// A Mount is one of them.
type Mount struct {
	ID, Parent  int      // of the mount, and of the one that it is mounted on
	Device      string   // of the file system: "0:53", st_dev of stat(2)
	Root        string   // what of the file system is mounted: "/", or another path for a bind mount
	Point       string   // where, seen from the process's root directory
	Options     []string // of this mount: "ro", "nosuid", …
	Propagation []string // "shared:1", "master:2", "unbindable"; none is private: mount_namespaces(7)
	Type        string   // of the file system: "tmpfs"
	Source      string   // what mount(2) was given: a device, or just a word
	Super       []string // options of the file system itself: "rw", "size=64k", …
}

// ReadMounts reads the mounts of a process, in the order of the kernel.
func ReadMounts(pid int) ([]Mount, error) {
	f, err := os.Open(folder(pid) + "mountinfo")
	if errors.Is(err, unix.EINVAL) {
		return nil, nil // a zombie has no mounts any more
	}
	if err != nil {
		return nil, trouble(pid, err)
	}
	defer f.Close()
	var all []Mount
	lines := bufio.NewReader(f) // no Scanner: options have no greatest length
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			m, err := parseMount(strings.TrimSuffix(line, "\n"))
			if err != nil {
				return nil, fmt.Errorf("look at process %d: mountinfo says %q: %w", pid, line, err)
			}
			all = append(all, m)
		}
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, trouble(pid, err)
		}
	}
}

// parseMount reads a line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (m Mount, err error) {
	before, after, found := strings.Cut(line, " - ")
	fields, rest := strings.Split(before, " "), strings.SplitN(after, " ", 3)
	if !found || len(fields) < 6 || len(rest) != 3 {
		return m, errors.New("not as many fields as a mount has")
	}
	if m.ID, err = strconv.Atoi(fields[0]); err != nil {
		return m, err
	}
	if m.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return m, err
	}
	m.Device, m.Root, m.Point = fields[2], unescape(fields[3]), unescape(fields[4])
	m.Options, m.Propagation = strings.Split(fields[5], ","), fields[6:]
	m.Type, m.Source, m.Super = unescape(rest[0]), unescape(rest[1]), strings.Split(rest[2], ",")
	return m, nil
}

// unescape undoes what the kernel does to blanks, newlines, tabs, backslashes
// and some more in names: a backslash and three octal digits (\040).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
