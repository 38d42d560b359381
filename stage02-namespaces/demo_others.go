package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"skiff.example/stage01-chroot/narrate"
)

// The part of the demonstration about namespaces of other processes: looked at,
// joined, and kept; and what an ordinary user cannot do.

// container starts a container in the background, and waits until its first
// process has become the program of this name. For the command lines that follow
// $pid is the runtime, and $one that process.
func (s *stage) container(line, name string) *narrate.Background {
	b := s.Background(line)
	s.await(name, func() bool {
		children := processesOf(b.Pid())
		return len(children) == 1 && children[0].name == name
	})
	if children := processesOf(b.Pid()); len(children) == 1 {
		s.one = children[0].pid
		s.Set("one", fmt.Sprint(s.one))
	}
	return b
}

// await waits until something is so, for some seconds.
func (s *stage) await(what string, so func() bool) {
	for deadline := time.Now().Add(10 * time.Second); s.Err() == nil && !so(); time.Sleep(5 * time.Millisecond) {
		if s.Context.Err() != nil || time.Now().After(deadline) {
			s.Fail(fmt.Errorf("wait for %s: it does not come", what))
		}
	}
}

// child is a process that another one has started.
type child struct {
	pid         int
	name, state string
}

// processesOf are the children of a process: proc_pid_stat(5).
func processesOf(parent int) (children []child) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is correct
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		number, rest, _ := strings.Cut(string(text), " (")
		end := strings.LastIndex(rest, ") ")
		if end < 0 {
			continue
		}
		fields := strings.Fields(rest[end+2:])
		if pid, err := strconv.Atoi(number); err == nil && fields[1] == strconv.Itoa(parent) {
			children = append(children, child{pid, rest[:end], fields[0]})
		}
	}
	return children
}

// lookedAt shows a container from outside.
func (s *stage) lookedAt() {
	s.Part("looked at, and joined")
	container := s.container("stage02 run --hostname box root sleep 60", "sleep")
	defer container.End()
	s.Do("stage02 look $one | sed -n '3,11p' | cut -c -37")
	s.Say("Below that come its mounts. With --tree it is the other way round: all processes above\nand below it, and in what they differ from their parents:")
	s.Do("stage02 look --tree $one | grep -o 'sleep 60 .*'")
	s.Say("A namespace can be joined by whoever has the right to it, all kinds at once:")
	s.Do("stage02 join $one hostname")
}

// kept shows a namespace that outlives its process.
func (s *stage) kept() {
	if s.user != "" {
		return // it takes a mount of the host
	}
	s.Part("kept")
	s.Say("A namespace goes with its last process, unless a file stands for it:")
	keeper := s.container("stage02 new uts sh -c 'hostname kept; exec sleep 60'", "sleep")
	defer keeper.End()
	s.Do("stage02 keep $one names uts")
	s.Do("kill -9 $pid")
	keeper.Ended()
	s.Do("stage02 join names hostname")
	s.Do("stage02 forget names")
}

// differences shows what an ordinary user cannot do, and sums it up.
func (s *stage) differences() {
	s.Part("what is different without root")
	s.Say("A new namespace of another kind takes a user namespace as well. `stage02 run` makes\none by itself:")
	s.Refused("stage02 new uts true")
	s.Say("Only ids that are in the map exist:")
	s.Refused("stage02 new user sh -c 'touch file; chown 4000000000 file'")
	s.Say("A device is a door to the host's hardware, so the container is shown the host's\nharmless ones instead of making its own:")
	s.Refused("stage02 new user,mnt mknod null c 1 3")
	s.Say("What outlives a process is a mount of the host:")
	one := s.container("stage02 new user,uts sleep 60", "sleep")
	defer one.End()
	s.Refused("stage02 keep $one names uts")
	s.Say("%s", strings.Trim(differences, "\n"))
}

// differences are the chapters' table of what differs.
const differences = `
               as root                   as an ordinary user
ids            all                       one's own; with newuidmap(1) the range of subuid(5)
devices        made: mknod(2)            the host's, shown by a bind mount
file systems   all                       proc, sysfs, tmpfs, devpts, mqueue, overlay, FUSE
kept           namespaces, by a mount    no
limits         chapter 3                 those that were delegated to the user
network        a cable: chapter 6        a program that translates: pasta(1), slirp4netns(1)
`
