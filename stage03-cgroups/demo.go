package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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
type stage struct {
	*narrate.Demo
	ctx  context.Context
	dir  string // a temporary folder, in which all commands run
	self string // this program
}

// demo shows the chapter to w, and leaves the host as it was. Ctrl-C ends ctx,
// that ends the command that runs, and what is deferred here cleans up.
func demo(ctx context.Context, w io.Writer) (err error) {
	s := &stage{Demo: narrate.New(w), ctx: ctx}
	if s.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if s.dir, err = os.MkdirTemp("", "stage03-"); err != nil {
		return fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	defer func() {
		left := state.Collect(s.state(), cgroup.Undoers(), func(string, []journal.Entry) {})
		err = errors.Join(err, left, os.RemoveAll(s.dir))
	}()
	s.root()
	s.plan()
	s.bomb()
	s.hog()
	s.killed()
	return s.Err()
}

// state is where the demonstration's journals lie.
func (s *stage) state() string { return filepath.Join(s.dir, "state") }

// command is a command line for a shell in the demonstration's folder, with
// this program as stage03.
func (s *stage) command(line string) *exec.Cmd {
	const script = `stage03() { "$STAGE03" --state "$PWD/state" "$@"; }; `
	cmd := exec.CommandContext(s.ctx, "/bin/sh", "-c", script+line)
	// A process group of its own, so that Ctrl-C and a signal to this process
	// alone come to the same: the runtime gets SIGTERM and cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "STAGE03="+s.self, "LC_ALL=C")
	return cmd
}

// run runs a command line as it is shown, and refused one that must fail.
func (s *stage) run(line string)     { s.Run(line, s.command(line)) }
func (s *stage) refused(line string) { s.RunRefused(line, s.command(line)) }

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
	s.Fail(closure.Write(filepath.Join(s.dir, "root")))
}

func (s *stage) plan() {
	s.Part("the plan")
	s.Say("The container is that of chapter 2. New is how it begins: it waits at a gate. Meanwhile")
	s.Say("the parent writes the journal, makes the cgroup with its limits, and puts it in.")
	s.run("stage03 plan root /bomb | sed 6q")
}

func (s *stage) bomb() {
	s.Part("a fork bomb")
	s.Say("A container sees no process but its own. How many it starts is another matter:")
	s.run("cat root/bomb")
	s.run("stage03 run --pids 300 root /bomb")
	s.Say("A bomb that does not count would go on until the host can start no process any more.")
	s.Say("At a limit fork(2) fails, in this container and nowhere else:")
	s.run("stage03 run --pids 10 root /bomb")
}

func (s *stage) hog() {
	s.Part("a memory hog")
	s.run("cat root/hog")
	s.run("stage03 run --memory 536870912 root /hog")
	s.Say("With less than it wants, the kernel ends it, and no process of the host:")
	s.refused("stage03 run --memory 16777216 root /hog")
}

// killed shows what is there after kill -9, and how it goes away.
func (s *stage) killed() {
	s.Part("kill -9")
	s.Say("Namespaces go away with their last process. A cgroup is a directory, and stays.")
	s.Say("The runtime removes it at the end, if it lives to see that. This one does not:")
	s.kill("stage03 run --name victim --pids 10 root sleep 60")
	s.group("Its group is still there, and in it the container runs on. Nobody waits for it:")
	s.Say("The journal was written before the group was made:")
	s.run("cut -c 1-16 state/victim/journal")
	s.Say("So whoever comes next can finish the work: end what is in the group, and remove it.")
	s.run("stage03 gc")
	s.group("After that:")
}

// kill starts a container and kills its runtime as soon as its program runs.
func (s *stage) kill(line string) {
	if s.Err() != nil {
		return
	}
	s.Say("$ %s & runtime=$!", line)
	cmd := s.command(strings.Replace(line, "stage03", `exec "$STAGE03" --state "$PWD/state"`, 1))
	if err := cmd.Start(); err != nil {
		s.Fail(fmt.Errorf("start a container: %w", err))
		return
	}
	s.Fail(s.await("sleep"))
	s.Say("$ kill -9 $runtime; wait $runtime")
	s.Fail(cmd.Process.Kill())
	s.Show(fmt.Sprint(cmd.Wait()))
}

// victim is the group of the container that is killed.
func victim() (*cgroup.Manager, error) {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	return hierarchies.New("/skiff-stage03-victim")
}

// await waits until the victim has become this program.
func (s *stage) await(program string) error {
	group, err := victim()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && s.ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		pids, err := group.Processes()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err == nil && strings.TrimSpace(string(comm)) == program {
				return nil
			}
		}
	}
	return errors.Join(s.ctx.Err(), fmt.Errorf("wait for %q to run: it does not", program))
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
