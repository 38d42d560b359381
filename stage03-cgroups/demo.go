// The demonstration of chapter 3: what namespaces do not stop, what each limit
// does, and what kill -9 leaves on the host. The bomb stops by itself at 200
// processes and the hog at 32 MiB, and neither is ever run without a limit.
//
// What is measured differs from run to run, so the demonstration prints whether it
// is as it must be, and fails if it is not; the numbers go to standard error.

package main

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// stage is where the demonstration happens.
type stage struct {
	*narrate.Stage
	aside       io.Writer // for what differs from machine to machine
	hierarchies *cgroup.Hierarchies
}

// demo shows the chapter to w, and leaves the host as it was. Ctrl-C ends ctx,
// that ends the command that runs, and what is deferred here cleans up.
func demo(ctx context.Context, w, aside io.Writer) (err error) {
	if err := command.NeedRoot("the demonstration", "containers and cgroups"); err != nil {
		return err
	}
	if err := command.NeedPrograms("the demonstration", tools...); err != nil {
		return err
	}
	base, err := narrate.NewStage(ctx, w, "stage03", "--state", "state")
	if err != nil {
		return err
	}
	s := &stage{Stage: base, aside: aside}
	defer func() {
		left := state.Collect(s.Path("state"), cgroup.Undoers(), func(string, []journal.Entry) {})
		err = errors.Join(err, left, s.Close())
	}()
	if s.hierarchies, err = cgroup.Detect(); err != nil {
		return err
	}
	s.root()
	s.plan()
	s.bomb()
	s.hog()
	s.processor()
	s.disk()
	s.device()
	s.freezer()
	s.ownHands()
	s.killed()
	return s.Err()
}

// tools are the programs that the demonstration takes from the host.
var tools = []string{"sh", "sleep", "cat", "dd", "find", "grep", "head", "mknod", "mount", "sed"}

// programs are the attackers. The bomb counts with what is built into the shell,
// because it cannot start another program any more.
var programs = map[string]string{
	"bomb": `#!/bin/sh
# start 200 processes, or as many as there may be
( n=0; while [ $n -lt 200 ]; do sleep 60 & n=$((n+1)); done )
set -- /proc/[0-9]*
echo "$# processes"
`,
	"hog": `#!/bin/sh
# fill memory: a text that is doubled until it has 32 MiB
text=x
while [ ${#text} -lt 33554432 ]; do text=$text$text; done
echo "${#text} bytes"
`,
	"climb": `#!/bin/sh
# change the limit that we have ourselves
file=$(find /sys/fs/cgroup -name pids.max)
echo "pids.max: $(cat $file)"
mount -o remount,bind,rw ${file%/*} 2> /dev/null || echo "mount: refused"
(echo max > $file) 2> /dev/null || { echo "write: refused"; exit 1; }
`,
}

// root makes the root file system: a shell, some tools, and the attackers.
func (s *stage) root() {
	closure, err := rootfs.FromPrograms(tools...)
	if err != nil {
		s.Fail(err)
		return
	}
	for name, text := range programs {
		closure.Add(rootfs.File{Name: name, Mode: fs.FileMode(0o755), Data: []byte(text), Why: "an attack"})
	}
	s.Fail(closure.Write(s.Path("root")))
}

func (s *stage) plan() {
	s.Part("the plan")
	s.Say("The container is that of chapter 2. New is how it begins. The parent writes the journal and")
	s.Say("makes the cgroup with its limits; in version 2 the process is born in there. Into groups of")
	s.Say("version 1 it is put, and waits for that at a gate.")
	s.Do("stage03 plan root /bomb | sed 6q")
}

func (s *stage) bomb() {
	s.Part("a fork bomb")
	s.Say("A container sees no process but its own. How many it starts is another matter:")
	s.Do("cat root/bomb")
	s.Do("stage03 run --pids 300 root /bomb")
	s.Say("A bomb that does not count would go on until the host can start no process any more.")
	s.Say("At a limit fork(2) fails, in this container and nowhere else:")
	s.Do("stage03 run --pids 10 root /bomb")
}

func (s *stage) hog() {
	s.Part("a memory hog")
	s.Do("cat root/hog")
	s.Do("stage03 run --memory 512m root /hog")
	s.Say("With less than it wants, the kernel ends it, and no process of the host:")
	s.Refused("stage03 run --memory 16m root /hog")
	s.Say("That is the shell's number for SIGKILL: 128 + 9. A container of which another process\nis killed lives on. This one waits a second before it starts the hog:")
	shell := s.container("stage03 run --name shell --memory 16m root sh -c 'sleep 1; /hog; sleep 1'", "shell", "sleep")
	defer shell.End()
	s.Do("stage03 stats shell | grep -w memory.max")
	s.Say("The kernel tells whoever listens the moment that it happens, until the container ends:")
	s.Do("stage03 events shell | grep -w oom_kill")
}

// killed shows what is there after kill -9, and how it goes away.
func (s *stage) killed() {
	s.Part("kill -9")
	s.Say("Namespaces go away with their last process. A cgroup is a directory, and stays.")
	s.Say("The runtime removes it at the end, if it lives to see that. This one does not:")
	runtime := s.container("stage03 run --name victim --pids 10 root sleep 60", "victim", "sleep")
	defer runtime.End()
	s.Do("kill -9 $pid")
	runtime.Ended()
	s.await("the end of victim", func() bool { return len(s.names("victim")) == 0 })
	s.Say("The kernel has ended the container with its parent, as its plan asked it to.\nIts group is still there:")
	s.group("victim")
	s.Say("The journal was written before the group was made:")
	s.Do("head -c 16 state/victim/journal")
	s.Say("So whoever comes next can finish the work: end what is in the group, and remove it.")
	s.Do("stage03 gc")
	s.Say("After that:")
	s.group("victim")
}
