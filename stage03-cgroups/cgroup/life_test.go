// A group's life: created, entered, frozen, killed, removed; on a legacy, a
// unified and a hybrid machine.

package cgroup_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
)

// kinds runs a test on the three kinds of machine.
func kinds(t *testing.T, test func(t *testing.T, h *cgroup.Hierarchies)) {
	for _, kind := range []struct {
		name string
		of   func(testing.TB) *cgroup.Hierarchies
	}{{"legacy", legacy}, {"unified", unified}, {"this machine", detect}} {
		t.Run(kind.name, func(t *testing.T) {
			testkit.HostUnchanged(t)
			test(t, kind.of(t))
		})
	}
}

func itoa[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// testProgram is the path of this test program.
func testProgram(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	return path
}

// reap waits for all our children, and for those that we got when their parent
// was killed. The test has killed them all.
func reap(t *testing.T) {
	t.Helper()
	for {
		_, err := syscall.Wait4(-1, nil, 0, nil)
		if err == syscall.ECHILD {
			return
		}
		if err != nil && err != syscall.EINTR {
			t.Fatal(err)
		}
	}
}

// /proc/PID/cgroup names the group in every hierarchy: nothing is left out.
func TestAProcessEntersEveryHierarchy(t *testing.T) {
	testkit.HostUnchanged(t)
	h := detect(t)
	m := create(t, h, "enter")
	shell := start(t, m, "echo in; read done")
	shell.line()
	for line := range strings.Lines(run(t, "cat /proc/"+itoa(shell.cmd.Process.Pid)+"/cgroup")) {
		if !strings.HasSuffix(line, ":/skiff-test-enter\n") && strings.TrimSpace(line) != "" && !strings.HasSuffix(line, ":/skiff-test-enter") {
			t.Errorf("outside: %q", line)
		}
	}
	group, err := m.Descriptor()
	must(t, err)
	if (group != nil) != (h.V2 != nil) {
		t.Errorf("descriptor: %v on a machine that is %v", group, h.Mode())
	}
	if group != nil {
		must(t, group.Close())
	}
	pids, err := m.Processes()
	if err != nil || len(pids) != 1 || pids[0] != shell.cmd.Process.Pid {
		t.Errorf("processes %v (%v), want %d", pids, err, shell.cmd.Process.Pid)
	}
	for _, pid := range []int{0, -1} {
		if err := m.Add(pid); !errors.Is(err, unix.ESRCH) {
			t.Errorf("add %d: %v", pid, err)
		}
	}
}

// CLONE_INTO_CGROUP: the child is born in the group.
func TestAChildIsBornInTheGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, unified(t), "born")
	group, err := m.Descriptor()
	must(t, err)
	defer group.Close()
	cmd := exec.Command("grep", "^0:", "/proc/self/cgroup")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "0::/skiff-test-born\n" {
		t.Errorf("it was born in %q (%v)", out, err)
	}
}

// In v1 a process goes in by itself.
func TestAProcessMovesItselfIn(t *testing.T) {
	testkit.HostUnchanged(t)
	h := detect(t)
	m := create(t, h, "self")
	entrances := cgroup.Entrances(m.Paths())
	if len(entrances) != len(h.V1) {
		t.Errorf("%d entrances into %d hierarchies", len(entrances), len(h.V1))
	}
	legacy(t) // what follows is about v1
	script := "for tasks in " + strings.Join(entrances, " ") + "; do echo 0 > $tasks; done; exec grep -v ^0: /proc/self/cgroup"
	out := run(t, script)
	for line := range strings.Lines(out + "\n") {
		if !strings.HasSuffix(line, ":/skiff-test-self\n") {
			t.Errorf("outside: %q", line)
		}
	}
}

func TestFreezeAndThaw(t *testing.T) {
	testkit.Need(t, "busybox")
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "freeze")
		shell := start(t, m, `exec busybox sh -c 'while read line; do echo $line; done'`)
		shell.say("one")
		shell.line()
		must(t, m.Freeze())
		must(t, m.Freeze())
		if !m.Frozen() {
			t.Error("frozen, and it says that it is not")
		}
		// Nobody reads the line, however much the others get done meanwhile.
		shell.say("two")
		run(t, "for i in 1 2 3 4 5 6 7 8 9 10; do busybox true; done")
		unread, err := unix.IoctlGetInt(int(shell.in.(*os.File).Fd()), unix.TIOCINQ)
		if err != nil || unread != len("two\n") {
			t.Errorf("frozen, and it has read all but %d bytes (%v)", unread, err)
		}
		must(t, m.Thaw())
		must(t, m.Thaw())
		if got := shell.line(); got != "two" || m.Frozen() {
			t.Errorf("thawed, it said %q (frozen: %v)", got, m.Frozen())
		}
	})
}

// A process frozen by v1 survives SIGKILL. Delete thaws first.
func TestDeleteOfAFrozenGroup(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "frozen")
		shell := start(t, m, "sleep 60 & echo started; wait")
		shell.line()
		must(t, m.Freeze())
		must(t, m.Delete())
		gone(t, m)
		must(t, m.Delete())
		shell.rest()
		shell.cmd.Wait()
		reap(t)
	})
}

// On a hybrid machine somebody else may use the v1 freezer.
func TestDeleteOfAGroupFrozenByAnother(t *testing.T) {
	testkit.HostUnchanged(t)
	legacy(t)
	m := create(t, detect(t), "other")
	shell := start(t, m, "echo started; read done")
	shell.line()
	run(t, "mkdir "+m.Paths()["freezer"]+"/below; echo "+itoa(shell.cmd.Process.Pid)+" > "+m.Paths()["freezer"]+
		"/below/cgroup.procs; echo FROZEN > "+m.Paths()["freezer"]+"/below/freezer.state")
	must(t, m.Delete())
	gone(t, m)
}

func TestKillReachesGroupsBelow(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "kill")
		below := create(t, h, "kill/below/deep")
		shell := start(t, below, "trap '' TERM INT HUP; echo started; while :; do sleep 1; done")
		shell.line()
		must(t, m.Kill())
		eventually(t, "nobody is left", func() bool {
			pids, err := m.Processes()
			return err == nil && len(pids) == 0
		})
		shell.cmd.Wait()
		reap(t)
	})
}

// Groups above ours go with us if we made them, and stay while others use them.
func TestParentsAreSharedAndRemovedByTheLast(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		first := create(t, h, "pod/a/1")
		second := create(t, h, "pod/a/2")
		shell := start(t, second, "echo in; read done")
		shell.line()
		must(t, first.Delete())
		gone(t, first)
		if shell.say("bye"); shell.rest() != "" || shell.cmd.Wait() != nil {
			t.Error("the container beside was killed")
		}
		must(t, second.Delete())
		must(t, cgroup.UndoParents(parents(second)))
		gone(t, manager(t, h, "/skiff-test-pod"))
	})
}

// parents are the directories above the group, the deepest first.
func parents(m *cgroup.Manager) []string {
	var dirs []string
	for _, dir := range m.Paths() {
		dirs = append(dirs, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir)))
	}
	return dirs
}

func TestAGroupThatSomebodyUsesIsRefused(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		first := create(t, h, "used")
		shell := start(t, first, "echo in; read done")
		shell.line()
		second := manager(t, h, "/skiff-test-used")
		err := second.Create(nil)
		if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), itoa(shell.cmd.Process.Pid)) || hint.Of(err) == "" {
			t.Errorf("error %v", err)
		}
		must(t, second.Delete())
		if shell.say("bye"); shell.rest() != "" || shell.cmd.Wait() != nil {
			t.Error("the other's process was killed")
		}
	})
}

// An empty group that was there before is used, and left where it was.
func TestAGroupThatWasThereStays(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		before := create(t, h, "before")
		j, err := journal.Open(filepath.Join(t.TempDir(), "journal"))
		must(t, err)
		m := manager(t, h, "/skiff-test-before")
		must(t, m.Create(j))
		must(t, m.Delete())
		must(t, j.Undo(cgroup.Undoers()))
		for _, dir := range before.Paths() {
			run(t, "test -d "+dir)
		}
	})
}

// The journal alone, read by whoever comes next, removes the group.
func TestTheJournalRemovesTheGroup(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		path := filepath.Join(t.TempDir(), "journal")
		j, err := journal.Open(path)
		must(t, err)
		m := manager(t, h, "/skiff-test-journal/web")
		t.Cleanup(func() { m.Delete() }) // should the journal fail
		must(t, m.Create(j))
		j.Close()
		shell := start(t, m, "echo in; read done")
		shell.line()
		must(t, m.Freeze())

		next, err := journal.Open(path)
		must(t, err)
		entries := next.Entries()
		must(t, next.Undo(cgroup.Undoers()))
		gone(t, m)
		gone(t, manager(t, h, "/skiff-test-journal"))
		for _, e := range entries { // once more: absent is success
			must(t, cgroup.Undoers()[e.Undo](e.Args))
		}
	})
}

// A journal that was tampered with must not make us kill others: neither what
// a file that is called cgroup.procs lists, nor what is in the root of a
// hierarchy (here: of one that a mount makes look like it).
func TestUndoRefusesWhatIsNoGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "refuse")
	shell := start(t, m, "echo in; read done")
	shell.line()

	folder, mount := t.TempDir(), t.TempDir()
	run(t, "mkdir "+folder+"/below; echo "+itoa(shell.cmd.Process.Pid)+" > "+folder+"/cgroup.procs")
	run(t, "mount --bind "+dir(m, "pids")+" "+mount)
	t.Cleanup(func() { run(t, "umount "+mount) })
	for _, path := range []string{folder, mount} {
		if err := cgroup.Undo([]string{path}); !errors.Is(err, unix.EINVAL) {
			t.Errorf("undo %s: %v, want %v", path, err, unix.EINVAL)
		}
	}
	if shell.say("bye"); shell.rest() != "" || shell.cmd.Wait() != nil {
		t.Error("the process was killed")
	}
}

// Processes that come and go faster than their pids can be read.
func TestDeleteOfAGroupThatForks(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "forks")
		shell := start(t, m, `for i in 1 2 3 4 5 6; do while :; do (:) & wait; done & done; echo started; wait`)
		shell.line()
		must(t, m.Delete())
		gone(t, m)
		shell.cmd.Wait()
		reap(t)
	})
}

// nest makes groups below dir until no path names the last, and removes after the
// test what is left of them.
func nest(t *testing.T, dir string) (bottom int) {
	t.Helper()
	name := strings.Repeat("d", 250)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	fds := []int{fd}
	for range 20 {
		must(t, unix.Mkdirat(fd, name, 0o755))
		fd, err = unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		fds = append(fds, fd)
	}
	t.Cleanup(func() {
		for i := len(fds) - 2; i >= 0; i-- {
			if err := unix.Unlinkat(fds[i], name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
				t.Error(err)
			}
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
	return fd
}

// freezeBelow nests groups of the v1 freezer as well, and freezes pid down there.
func freezeBelow(t *testing.T, m *cgroup.Manager, pid int) {
	t.Helper()
	if m.Paths()["freezer"] == "" {
		return
	}
	bottom := nest(t, m.Paths()["freezer"])
	for _, write := range []struct{ file, value string }{{"cgroup.procs", itoa(pid)}, {"freezer.state", "FROZEN"}} {
		fd, err := unix.Openat(bottom, write.file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		_, err = unix.Write(fd, []byte(write.value))
		unix.Close(fd)
		must(t, err)
	}
}

// A container that may write to its groups makes some that no path can name.
func TestGroupsDeeperThanAnyPath(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		m := create(t, h, "deep")
		shell := start(t, m, "echo in; exec sleep 60")
		shell.line()
		pid := shell.cmd.Process.Pid
		bottom := nest(t, dir(m, "pids"))
		procs, err := unix.Openat(bottom, "cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		_, err = unix.Write(procs, []byte(itoa(pid)))
		unix.Close(procs)
		must(t, err)
		freezeBelow(t, m, pid)
		if pids, err := m.Processes(); err != nil || len(pids) != 1 || pids[0] != pid {
			t.Errorf("processes %v (%v), want %d", pids, err, pid)
		}
		must(t, m.Kill())
		shell.cmd.Wait()
		must(t, m.Delete())
		gone(t, m)
	})
}

// Groups that cannot be gone through are no reason to spare the others.
func TestKillGoesOnAfterAFailure(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, detect(t), "goes-on")
	shell := start(t, m, "echo in; exec sleep 60")
	shell.line()
	// Of a machine where one of the hierarchies is an ordinary file.
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	h := detect(t)
	h.V1 = append([]cgroup.Hierarchy{{MountPoint: file, Controllers: []string{"none"}}}, h.V1...)
	if err := manager(t, h, "/skiff-test-goes-on").Kill(); err == nil {
		t.Error("no word of the file")
	}
	eventually(t, "it was killed", func() bool { s := state(shell.cmd.Process.Pid); return s == "Z" || s == "" })
}

// A journal names groups, and nothing else is removed in its name.
func TestUndoLeavesFoldersAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	folder := t.TempDir()
	t.Chdir(filepath.Dir(folder))
	for _, path := range []string{folder, filepath.Base(folder)} {
		for kind, undo := range cgroup.Undoers() {
			if err := undo([]string{path}); !errors.Is(err, unix.EINVAL) {
				t.Errorf("%s %s: %v, want %v", kind, path, err, unix.EINVAL)
			}
		}
	}
	if _, err := os.Stat(folder); err != nil {
		t.Error(err)
	}
}

// Kill lets nobody fork in a group of v1. Whoever uses it next may.
func TestAGroupThatWasKilledCanBeUsedAgain(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		owner := create(t, h, "again")
		for range 2 {
			m := manager(t, h, "/skiff-test-again")
			must(t, m.Create(nil))
			shell := start(t, m, "sleep 60 & echo forked; wait")
			if said := shell.line(); said != "forked" {
				t.Errorf("it said %q", said)
			}
			must(t, m.Kill())
			shell.cmd.Wait()
			reap(t)
			eventually(t, "it is empty", func() bool { pids, err := owner.Processes(); return err == nil && len(pids) == 0 })
		}
	})
}
