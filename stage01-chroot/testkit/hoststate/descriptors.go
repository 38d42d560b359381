package hoststate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The open descriptors of this process, from /proc/self/fd (proc_pid_fd(5)).
// One that a container inherits by mistake is a way out of it: CVE-2024-21626.

type descriptor struct {
	number int
	target string // what it is open on: a path, "socket:[1234]", "net:[4026531840]", …
}

// descriptors lists what is open. The number is not compared: the same file
// opened again may get another one.
func descriptors() ([]Thing, error) {
	open, err := openDescriptors()
	var things []Thing
	for _, d := range open {
		things = append(things, Thing{Kind: "descriptor", Name: d.target, Note: fmt.Sprintf("descriptor %d", d.number)})
	}
	return things, err
}

// openDescriptors leaves out the one through which it reads the list, which is
// closed again by the time that its link is read.
func openDescriptors() ([]descriptor, error) {
	if err := startPoller(); err != nil {
		return nil, err
	}
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var open []descriptor
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // closed since
		}
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		open = append(open, descriptor{number, target})
	}
	return open, nil
}

// startPoller makes the Go runtime open the epoll descriptors that it keeps
// from its first pipe or socket on, so that they are in every picture.
func startPoller() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	return r.Close()
}
