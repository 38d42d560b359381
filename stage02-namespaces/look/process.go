// Package look reads what the kernel says about a process, its namespaces, ids
// and mounts, and draws it: as a table, and as a tree of who shares what with
// whom.
//
// Everything comes from below /proc (proc(5)) and from ioctl_ns(2), never from
// what some runtime believes, and nothing is entered for it: what only a member
// of a namespace can see, such as its host name, is not shown. Reading is apart
// from drawing: process.go, namespaces.go, ids.go, mounts.go and network.go
// read, table.go and tree.go draw.
package look

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// Who a process is: /proc/PID/status, comm and cmdline, proc_pid_status(5).

// A Process is what /proc tells about one. Namespaces of another user's process
// are not readable for an ordinary user: proc_pid_ns(5), ptrace(2).
type Process struct {
	Pid     int      // in the pid namespace that /proc belongs to, ours as a rule
	Parent  int      // 0 when there is none in that namespace
	Name    string   // its command name: at most 15 bytes, a kernel thread's may be longer
	Command []string // its arguments; none for a kernel thread and a zombie
	// NSpid are its process ids, in our pid namespace first, in its own last.
	NSpid []int
	// Namespaces has one for each of namespace.Kinds, in that order.
	Namespaces []Namespace

	// What follows is read by Read only.

	UIDMap, GIDMap []IDMapping // who is who in its user namespace, see IDMapping
	Setgroups      string      // "allow" or "deny": whether setgroups(2) may be used in it
	Mounts         []Mount     // in the order of the kernel
	// Unreadable says what could not be read, for lack of permission.
	Unreadable []error
}

// ParsePid reads the number of a process.
func ParsePid(word string) (int, error) {
	pid, err := strconv.Atoi(word)
	if err != nil || pid < 1 {
		return 0, fmt.Errorf("%q is not a process id", word)
	}
	return pid, nil
}

// Read reads everything about a process. That parts of it are not readable is
// no error: see Process.Unreadable. One that does not exist, or ends meanwhile,
// is unix.ESRCH.
func Read(pid int) (*Process, error) {
	p, err := readFamily(pid)
	if err != nil {
		return nil, err
	}
	p.readIDs()
	p.Mounts, err = ReadMounts(pid)
	p.unless(err)
	if _, err := os.Stat(folder(pid)); err != nil {
		return nil, gone(pid) // what has been read may be half of it
	}
	return p, nil
}

// All reads the processes that /proc shows, ordered by pid, without their ids
// and mounts. Those that end meanwhile are left out.
func All() ([]*Process, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []*Process
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue // no process
		}
		p, err := readFamily(pid)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Process) int { return a.Pid - b.Pid })
	return all, nil
}

// readFamily reads who a process is and which namespaces it has.
func readFamily(pid int) (*Process, error) {
	p := &Process{Pid: pid}
	status, err := p.read("status")
	if err != nil {
		return nil, err
	}
	if err := p.parseStatus(status); err != nil {
		return nil, err
	}
	name, err := p.read("comm")
	if err != nil {
		return nil, err
	}
	p.Name = strings.TrimSuffix(name, "\n")
	command, err := p.read("cmdline")
	if err != nil {
		return nil, err
	}
	if command = strings.TrimRight(command, "\x00"); command != "" {
		p.Command = strings.Split(command, "\x00")
	}
	return p, p.readNamespaces()
}

// parseStatus takes what we need from /proc/PID/status: lines of a word, a
// colon and values.
func (p *Process) parseStatus(text string) error {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		var err error
		switch key {
		case "PPid":
			p.Parent, err = strconv.Atoi(strings.TrimSpace(value))
		case "NSpid":
			p.NSpid, err = numbers(value)
		}
		if err != nil {
			return fmt.Errorf("look at process %d: status says %q: %w", p.Pid, line, err)
		}
	}
	return nil
}

// numbers reads numbers between blanks.
func numbers(text string) ([]int, error) {
	var all []int
	for _, word := range strings.Fields(text) {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// read reads one file of the process. One that does not exist (any more) is
// unix.ESRCH.
func (p *Process) read(name string) (string, error) {
	data, err := os.ReadFile(folder(p.Pid) + name)
	if err != nil {
		return "", trouble(p.Pid, err)
	}
	return string(data), nil
}

// folder is the process's folder in /proc.
func folder(pid int) string { return fmt.Sprintf("/proc/%d/", pid) }

// trouble says which process a failed look was at.
func trouble(pid int, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return gone(pid)
	}
	err = fmt.Errorf("look at process %d: %w", pid, err)
	if errors.Is(err, fs.ErrPermission) {
		return hint.Add(err, "root sees more: the namespaces of a process are for those who may trace it, ptrace(2)")
	}
	return err
}

// gone is the error for a process that is not there.
func gone(pid int) error {
	return hint.Add(fmt.Errorf("look at process %d: %w", pid, unix.ESRCH),
		"it has ended, or is a process of another pid namespace; ps -e lists those of this one")
}

// unless remembers that something could not be read.
func (p *Process) unless(err error) {
	if err != nil {
		p.Unreadable = append(p.Unreadable, err)
	}
}
