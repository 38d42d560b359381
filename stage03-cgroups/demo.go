package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// The demonstration of chapter 3: what namespaces do not stop, what a limit
// does, and what kill -9 leaves on the host. The bomb stops by itself at 200
// processes and the hog at 32 MiB, and neither is ever run without a limit.

// stage is where the demonstration happens.
type stage struct{ *narrate.Stage }

// demo shows the chapter to w, and leaves the host as it was. Ctrl-C ends ctx,
// that ends the command that runs, and what is deferred here cleans up.
func demo(ctx context.Context, w io.Writer) (err error) {
	if err := command.NeedRoot("the demonstration", "containers and cgroups"); err != nil {
		return err
	}
	base, err := narrate.NewStage(ctx, w, "stage03", "--state", "state")
	if err != nil {
		return err
	}
	s := &stage{base}
	defer func() {
		left := state.Collect(s.Path("state"), cgroup.Undoers(), func(string, []journal.Entry) {})
		err = errors.Join(err, left, s.Close())
	}()
	s.root()
	s.plan()
	s.bomb()
	s.hog()
	s.killed()
	return s.Err()
}

// programs are the two attackers. The bomb counts with what is built into the
// shell, because it cannot start another program any more.
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
}

// root makes the root file system: a shell, and the attackers.
func (s *stage) root() {
	closure, err := rootfs.FromPrograms("sh", "sleep")
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
	s.Say("The container is that of chapter 2. New is how it begins: it waits at a gate. Meanwhile")
	s.Say("the parent writes the journal, makes the cgroup with its limits, and puts it in.")
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
	s.Do("stage03 run --memory 536870912 root /hog")
	s.Say("With less than it wants, the kernel ends it, and no process of the host:")
	s.Refused("stage03 run --memory 16777216 root /hog")
}

// killed shows what is there after kill -9, and how it goes away.
func (s *stage) killed() {
	s.Part("kill -9")
	s.Say("Namespaces go away with their last process. A cgroup is a directory, and stays.")
	s.Say("The runtime removes it at the end, if it lives to see that. This one does not:")
	runtime := s.Background("stage03 run --name victim --pids 10 root sleep 60")
	defer runtime.End()
	if s.Err() == nil {
		s.Fail(s.await("its program", func(names []string) bool { return slices.Contains(names, "sleep") }))
	}
	s.Do("kill -9 $pid")
	runtime.Ended()
	if s.Err() == nil {
		s.Fail(s.await("its end", func(names []string) bool { return len(names) == 0 }))
	}
	s.group("The kernel has ended the container with its parent, as its plan asked it to.\nIts group is still there:")
	s.Say("The journal was written before the group was made:")
	s.Do("cut -c 1-16 state/victim/journal")
	s.Say("So whoever comes next can finish the work: end what is in the group, and remove it.")
	s.Do("stage03 gc")
	s.group("After that:")
}

// victim is the group of the container that is killed.
func victim() (*cgroup.Manager, error) {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	return hierarchies.New("/skiff-stage03-victim")
}

// await waits until the programs in the victim's group are as wanted.
func (s *stage) await(what string, wanted func(names []string) bool) error {
	group, err := victim()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && s.Context.Err() == nil; time.Sleep(5 * time.Millisecond) {
		pids, err := group.Processes()
		if err != nil {
			return err
		}
		var names []string
		for _, pid := range pids {
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err == nil { // it may have ended
				names = append(names, strings.TrimSpace(string(comm)))
			}
		}
		if wanted(names) {
			return nil
		}
	}
	return errors.Join(s.Context.Err(), fmt.Errorf("wait for %s: it does not come", what))
}

// group says what is in the victim's group, which has another place on every
// kind of machine.
func (s *stage) group(sentence string) {
	s.Say("%s", sentence)
	group, err := victim()
	if err != nil {
		s.Fail(err)
		return
	}
	pids, err := group.Processes()
	s.Fail(err)
	found := "not there"
	for _, dir := range group.Paths() {
		if _, err := os.Stat(dir); err == nil {
			found = fmt.Sprintf("there, processes in it: %d", len(pids))
		}
	}
	s.Show("cgroup skiff-stage03-victim: " + found)
}
