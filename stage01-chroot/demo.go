package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/narrate"
)

// The demonstration of chapter 1: what a root of its own hides, and what it
// leaves in reach. All of it happens in a temporary folder, with this program
// itself; the folder, a mount and a process are gone afterwards, also after
// Ctrl-C.

// stage is where the demonstration happens.
type stage struct {
	*narrate.Demo
	ctx  context.Context
	dir  string // a temporary folder
	self string // this program
}

// demo shows the chapter to w.
func demo(ctx context.Context, w io.Writer) (err error) {
	// Ctrl-C goes to the commands too. They end, the demonstration fails at
	// that, and what is deferred here cleans up.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	defer stop()
	s := &stage{Demo: narrate.New(w), ctx: ctx}
	if s.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if s.dir, err = os.MkdirTemp("", "stage01-"); err != nil {
		return fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.noWalls()
	s.newRoot()
	s.plan()
	s.attack()
	s.stillShared()
	s.breakOut()
	s.why()
	return s.Err()
}

// command is a command line for a shell in the demonstration's folder, with
// this program as stage01 and "$1", "$2" … as given.
func (s *stage) command(line string, args ...string) *exec.Cmd {
	script := `stage01() { "$STAGE01" "$@"; }; ` + line
	cmd := exec.CommandContext(s.ctx, "/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "STAGE01="+s.self, "LC_ALL=C")
	return cmd
}

// run runs a command line as it is shown.
func (s *stage) run(line string) { s.Run(line, s.command(line)) }

// refused runs a command line that must fail.
func (s *stage) refused(line string) { s.RunRefused(line, s.command(line)) }

func (s *stage) noWalls() {
	s.Part("no walls")
	s.Say("A program on the host can read whatever its user can. Here is a secret:")
	s.run(`echo "the host's secret" > secret`)
	s.run("cat secret")
}

func (s *stage) newRoot() {
	s.Part("a root of its own")
	s.Say("A root file system, made of the host's programs and the libraries that they need:")
	s.run("stage01 root root sh ls cat id hostname ps mount")
	s.Say("A program that runs in it finds these files and no others:")
	s.run("stage01 run root ls -d /etc /proc /root /tmp")
	s.refused("stage01 run root ls /home")
	s.run("stage01 run root cat /etc/passwd")
	s.run("stage01 run root id -un")
}

func (s *stage) plan() {
	s.Part("the plan")
	s.Say("That was three system calls:")
	s.run("stage01 plan root ls -l /")
}

func (s *stage) attack() {
	s.Part("attack: read the secret")
	s.Say(`The folder above the new root holds the secret, but in "/" the name ".." means "/":`)
	s.refused("stage01 run root cat ../secret")
	s.refused(`stage01 run root cat "$PWD/secret"`)
}

// stillShared shows what has nothing to do with file names.
func (s *stage) stillShared() {
	s.Part("what is still the host's")
	s.Say("The host name is the host's, and root in there may change it:")
	s.run("hostname")
	s.run("stage01 run root hostname")
	s.Say("A mount that it makes is a mount of the host:")
	defer s.unmount()
	s.run("stage01 run root mount -t proc proc /proc")
	s.run(`mount | grep "$PWD"`)
	s.Say("Now it sees every process of the host, and may end it:")
	s.kill()
}

// unmount takes away what the program in the root has mounted, if it came to
// that: EINVAL says that nothing is mounted there.
func (s *stage) unmount() {
	err := unix.Unmount(filepath.Join(s.dir, "root/proc"), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		s.Fail(fmt.Errorf("unmount %q: %w", "root/proc", err))
	}
}

// kill starts a process on the host and ends it from inside the root.
func (s *stage) kill() {
	sleep := s.command("exec sleep 60")
	if s.Err() != nil {
		return
	}
	if err := sleep.Start(); err != nil {
		s.Fail(fmt.Errorf("start sleep: %w", err))
		return
	}
	pid := fmt.Sprint(sleep.Process.Pid)
	s.Say("$ sleep 60 & pid=$!")
	s.Run("stage01 run root ps -o comm= -p $pid", s.command(`stage01 run root ps -o comm= -p "$1"`, pid))
	s.Run(`stage01 run root sh -c "kill -TERM $pid"`, s.command(`stage01 run root sh -c "kill -TERM $1"`, pid))
	if s.Err() != nil { // nobody else will end it
		s.Fail(sleep.Process.Kill())
	}
	s.Say("$ wait $pid")
	if err := sleep.Wait(); err != nil {
		s.Show(err.Error())
	} else {
		s.Fail(errors.New("sleep was to be ended, and was not"))
	}
}

func (s *stage) breakOut() {
	s.Part("attack: break out")
	s.Say("The program need not even stay in its root. An intruder brings his own tool, which is this one:")
	s.Run(`cp "$(which stage01)" root/tmp/stage01`, s.command(`cp "$STAGE01" root/tmp/stage01`))
	s.run("stage01 escape --plan /bin/cat /secret")
	s.Say("Run inside, it reads outside:")
	s.run(`stage01 run root /tmp/stage01 escape /bin/cat "$PWD/secret"`)
}

func (s *stage) why() {
	s.Part("why this is no boundary")
	s.Say("%s", strings.TrimSpace(`
chroot(2) changes where the names of one process begin. It does not take away
anything that the process could do before: mount, kill, set the host name, call
chroot again. Processes, mounts and the host name have no file names at all.
Chapter 2 gives the program a set of its own of each, and a root with nothing
above it.`))
}
