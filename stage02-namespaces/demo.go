package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/narrate"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage02-namespaces/pid1"
)

// The demonstration of chapter 2: what a root alone leaves in reach, each kind of
// namespace alone, and all of them together, attacked. It is the same for root
// and for an ordinary user, who makes a user namespace with everything. All of it
// happens in a temporary folder, with this program itself; the folder and a
// process are gone afterwards, also after Ctrl-C. Mounts need no care: they go
// with the mount namespace that they were made in.

// stage is where the demonstration happens.
type stage struct {
	*narrate.Stage
	user string // "user," for who is not root: the kind that goes with all others
	one  int    // the first process of a container in the background
}

// demo shows the chapter to w.
func demo(ctx context.Context, w io.Writer) (err error) {
	base, err := narrate.NewStage(ctx, w, "stage02")
	if err != nil {
		return err
	}
	s := &stage{Stage: base}
	defer func() { err = errors.Join(err, s.Close()) }()
	if os.Geteuid() != 0 {
		s.user = "user,"
	}
	s.Fail(s.prepare())
	s.rootAlone()
	s.eachAlone()
	s.together()
	s.attackAgain()
	s.processOne()
	s.lookedAt()
	s.kept()
	if s.user != "" {
		s.differences()
	}
	return s.Err()
}

// prepare makes what chapter 1 is about: a root file system, and a secret
// outside of it. The programs are also those that the demonstration runs.
func (s *stage) prepare() error {
	closure, err := rootfs.FromPrograms("sh", "ls", "cat", "cut", "grep", "hostname", "ps", "mount", "sleep")
	if err != nil {
		return err
	}
	if err := closure.Write(s.Path("root")); err != nil {
		return err
	}
	return os.WriteFile(s.Path("secret"), []byte("the host's secret\n"), 0o600)
}

// rootAlone is where chapter 1 ended.
func (s *stage) rootAlone() {
	if s.user != "" {
		return // chroot(2) is not for ordinary users
	}
	s.Part("attack: what a root alone leaves in reach")
	s.Say("In a root made by chroot(8) a program is told the host's name, and may end the host's\nprocesses:")
	s.Do("hostname")
	s.Do("chroot root hostname")
	victim := s.Background("sleep 60")
	defer victim.End()
	s.Do(`chroot root sh -c "kill -TERM $pid"`)
	victim.Ended()
}

// together is the container: five kinds at once, and a root with nothing above.
func (s *stage) together() {
	s.Part("together: a container")
	s.Do("stage02 run --hostname box root hostname")
	s.Do("stage02 run root ps -e -o pid=,comm= | tr -s ' '")
	s.Do("stage02 run root mount -t proc,sysfs,devpts,mqueue | grep -v sysrq")
	s.Do("stage02 run root ls /dev")
	s.Say("Namespaces do not cover everything. Most settings below /proc/sys are the host's, so\nall of them are read-only:")
	s.Refused("stage02 run root sh -c 'echo changed > /proc/sys/kernel/core_pattern'")
}

func (s *stage) attackAgain() {
	s.Part("attack again: end a process of the host")
	s.Say("No number in a pid namespace means a process outside of it:")
	victim := s.Background("sleep 60")
	defer victim.End()
	s.Refused(`stage02 run root sh -c "kill -TERM $pid"`)
	s.Do(`kill -0 $pid && echo "still there"`)

	s.breakOut()
}

// breakOut tries every way out of chapter 1. One needs a directory of the host
// that was left open, so that is done, too.
func (s *stage) breakOut() {
	s.Part("attack again: break out")
	s.Fail(s.bringTool())
	if s.user == "" {
		s.Say("The ways out of chapter 1 still lead out of a root alone:")
		s.Do(`chroot root /stage02 escape /bin/cat "$PWD/secret"`)
	}
	s.Say("In the container the same calls lead to the top of its own mounts, or nowhere:")
	for _, way := range escape.Ways {
		s.Refused(fmt.Sprintf(`stage02 run root /stage02 escape --by %s /bin/cat "$PWD/secret" 3</`, way.Name))
	}
	s.Do("stage02 run root /stage02 escape /bin/hostname")
	s.Say("%s", strings.TrimSpace(`
There is nothing above: pivot_root(2) put the container's root in the place of
the host's, and the host's was unmounted. Process 1 is the container's own, and
no descriptor of the host came along.`))
}

// bringTool puts this program into the root: an intruder brings his own.
func (s *stage) bringTool() error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(s.Path("root/stage02"), self, 0o755)
}

// processOne shows what number 1 has to do, and who does it.
func (s *stage) processOne() {
	s.Part("process 1")
	s.Say("%s", strings.TrimSpace(`
When a process ends, its children become children of number 1, which must wait for
them. Here number 1 is sleep, which does not know that. As the host sees it, with
$one as the number that number 1 has there:`))
	s.orphan("stage02 run root sh -c '(sleep 0.1 &); exec sleep 60'", "sleep", "Z")
	s.Say("With --init a small program is number 1. It waits for orphans, passes signals on, and\nends with the program's status:")
	s.Do("stage02 run --init root ps -e -o comm=")
	s.orphan("stage02 run --init root sh -c '(sleep 0.1 &); exec sleep 60'", pid1.Name, "S")
	s.Refused("stage02 run --init root sh -c 'exit 42'")
}

// orphan runs a container whose program leaves a child behind, waits until the
// process 1 called name has one child sleep in this state (proc_pid_stat(5)), and
// shows it: the dead orphan, or the program itself.
func (s *stage) orphan(line, name, state string) {
	container := s.container(line, name)
	defer container.End()
	// Seen once, it may have an orphan that began while its children were listed. When
	// they are listed again the program is sleep, and so the orphan began before.
	seen := 0
	s.await("the orphan's end", func() bool {
		children := processesOf(s.one)
		if len(children) != 1 || children[0].name != "sleep" || children[0].state != state {
			seen = 0
			return false
		}
		seen++
		return seen == 2
	})
	s.Do("ps -o s=,comm= --ppid $one")
}
