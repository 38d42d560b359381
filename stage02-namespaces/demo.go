package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
)

// The demonstration of chapter 2: what a root alone leaves in reach, and each
// of the five namespaces that takes it away. All of it happens in a temporary
// folder, with this program itself; the folder and a process are gone
// afterwards, also after Ctrl-C. Mounts need no care: they go with the mount
// namespace that they were made in.

// stage is where the demonstration happens.
type stage struct {
	*narrate.Demo
	ctx   context.Context
	dir   string    // a temporary folder
	self  string    // this program
	sleep *exec.Cmd // a process of the host, to be attacked
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
	if s.dir, err = os.MkdirTemp("", "stage02-"); err != nil {
		return fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.Fail(s.prepare())
	s.chrootOnly()
	s.names()
	s.processes()
	s.mounts()
	s.network()
	s.breakOut()
	return s.Err()
}

// prepare makes what chapter 1 is about: a root file system, and a secret
// outside of it.
func (s *stage) prepare() error {
	closure, err := rootfs.FromPrograms("sh", "ls", "cat", "cut", "grep", "hostname", "ps", "mount")
	if err != nil {
		return err
	}
	if err := closure.Write(s.dir + "/root"); err != nil {
		return err
	}
	return os.WriteFile(s.dir+"/secret", []byte("the host's secret\n"), 0o600)
}

// command is a command line for a shell in the demonstration's folder, with
// this program as stage02 and "$pid" as the process to be attacked.
func (s *stage) command(line string) *exec.Cmd {
	cmd := exec.CommandContext(s.ctx, "/bin/sh", "-c", `stage02() { "$STAGE02" "$@"; }; `+line)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "STAGE02="+s.self, "LC_ALL=C")
	if s.sleep != nil {
		cmd.Env = append(cmd.Env, fmt.Sprint("pid=", s.sleep.Process.Pid))
	}
	return cmd
}

// run runs a command line as it is shown.
func (s *stage) run(line string) { s.Run(line, s.command(line)) }

// refused runs a command line that must fail.
func (s *stage) refused(line string) { s.RunRefused(line, s.command(line)) }

// background starts the process to be attacked.
func (s *stage) background() {
	if s.Err() != nil {
		return
	}
	sleep := s.command("exec sleep 60")
	if err := sleep.Start(); err != nil {
		s.Fail(fmt.Errorf("start sleep: %w", err))
		return
	}
	s.sleep = sleep
	s.Say("$ sleep 60 & pid=$!")
}

// end ends that process, if nobody else has.
func (s *stage) end() {
	if s.sleep == nil {
		return
	}
	if err := s.sleep.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		s.Fail(err)
	}
	_ = s.sleep.Wait() // says that it was killed
	s.sleep = nil
}

func (s *stage) chrootOnly() {
	s.Part("attack: what a root alone leaves in reach")
	s.Say("In a root made by chroot(8) a program is told the host's name, and may end the host's\nprocesses:")
	s.run("hostname")
	s.run("chroot root hostname")
	s.background()
	defer s.end()
	s.run(`chroot root sh -c "kill -TERM $pid"`)
	s.Say("$ wait $pid")
	if s.Err() == nil {
		s.ended()
	}
}

// ended shows how the process under attack ended, and fails unless the attack
// did it.
func (s *stage) ended() {
	err := s.sleep.Wait()
	s.sleep = nil
	if err == nil {
		s.Fail(errors.New("the process was to be ended, and was not"))
		return
	}
	s.Show(err.Error())
}

func (s *stage) names() {
	s.Part("a name of its own: the uts namespace")
	s.run("stage02 run --hostname box root hostname")
	s.run("stage02 run root sh -c 'hostname changed; hostname'")
	s.run("hostname")
}

func (s *stage) processes() {
	s.Part("attack again: end a process of the host")
	s.Say("The pid namespace has numbers of its own. The container's first process is number 1,\nand no number means a process of the host:")
	s.run("stage02 run root ps -e -o pid=,comm=")
	s.background()
	defer s.end()
	s.refused(`stage02 run root sh -c "kill -TERM $pid"`)
	s.run(`kill -0 $pid && echo "still there"`)
}

func (s *stage) mounts() {
	s.Part("mounts of its own: the mount namespace")
	s.Say("The container has mounts of its own, and may make more:")
	s.run("stage02 run root mount -t sysfs,devpts,mqueue")
	s.run("stage02 run root sh -c 'mount -t tmpfs mine /tmp && grep mine /proc/mounts | cut -c -15'")
	s.Say("The host sees none of them:")
	s.refused(`mount | grep "$PWD"`)
	s.Say("Namespaces do not cover everything. Most settings below /proc/sys are the host's, so\nall of them are read-only:")
	s.refused("stage02 run root sh -c 'echo changed > /proc/sys/kernel/core_pattern'")
}

func (s *stage) network() {
	s.Part("a network of its own: the net namespace")
	s.run("stage02 run root ls /sys/class/net")
	s.run("stage02 run root cat /sys/class/net/lo/flags")
	s.Say("0x9: it is up, and a loopback. Chapter 6 adds a link to the outside.")
}

func (s *stage) breakOut() {
	s.Part("attack again: break out")
	s.Say("The way out of chapter 1 still works in a root alone:")
	s.Run(`cp "$(which stage02)" root/tmp/stage02`, s.command(`cp "$STAGE02" root/tmp/stage02`))
	s.run(`chroot root /tmp/stage02 escape /bin/cat "$PWD/secret"`)
	s.Say("In the container the same calls succeed, and lead to the top of its own mounts:")
	s.refused(`stage02 run root /tmp/stage02 escape /bin/cat "$PWD/secret"`)
	s.run("stage02 run root /tmp/stage02 escape /bin/hostname")
	s.Say("%s", strings.TrimSpace(`
There is nothing above: pivot_root(2) put the container's root in the place of
the host's, and the host's was unmounted. What is shared still is the kernel, its
memory and its processors. Chapter 3 says how much of them a container may use.`))
}
