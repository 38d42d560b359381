package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// Attacks on limits, from inside. Those that need to mount something are also
// made with --may-mount: then the cgroup namespace alone stands between the
// container and the groups of others.

// attackRoot is a root file system with what an attacker needs.
func attackRoot(t *testing.T) string {
	t.Helper()
	closure, err := rootfs.FromPrograms("sh", "sleep", "cat", "find", "mkdir", "rmdir", "mknod", "mount", "umount", "dd", "head", "chmod")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := closure.Write(root); err != nil {
		t.Fatal(err)
	}
	return root
}

// ended waits for a container, which must come to its end soon.
func ended(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the container does not end")
		return nil
	}
}

// awake thaws a container's group at the end of the test, whatever happens: a
// process that version 1 has frozen cannot be killed.
func awake(t *testing.T, state, name string) {
	t.Cleanup(func() {
		group := groupOf(t, state, name)
		if pids, err := group.Processes(); err == nil && len(pids) > 0 {
			t.Errorf("processes %v are left; thaw: %v", pids, group.Kill())
		}
	})
}

func TestAForkBombHasALimitAndAnEnd(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	bomb := stage03(t, state, "run", "--name", "bomb", "--pids", "20", newRoot(t), "sh", "-c",
		"trap : TERM; while :; do ( while :; do sleep 60 & done ) 2> /dev/null; done")
	if err := bomb.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, state, "bomb")
	await(t, "a bomb at its limit", func() bool {
		stats, err := group.Stats()
		return err == nil && stats.Pids != nil && stats.Pids.Refused > 10
	})
	if stats, err := group.Stats(); err != nil || stats.Pids.Current > 20 {
		t.Errorf("%+v, error %v", stats.Pids, err)
	}
	output(t, stage03(t, state, "kill", "bomb"))
	if err := ended(t, bomb); err == nil {
		t.Error("it was not killed")
	}
}

func TestAMemoryHogIsKilledAndSaysWhy(t *testing.T) {
	testkit.HostUnchanged(t)
	hog := stage03(t, stateDir(t), "run", "--name", "hog", "--memory", "16m", newRoot(t), "sh", "-c",
		"text=x; while [ ${#text} -lt 33554432 ]; do text=$text$text; done")
	out, err := hog.CombinedOutput()
	want := "stage03: \"sh\" ran out of memory, and the kernel killed it\nhint: the limit was 16M: see --memory\n"
	if string(out) != want || hog.ProcessState.ExitCode() != 137 {
		t.Errorf("error %v, said %q", err, out)
	}
}

// What the kernel did is told, whoever it was done to, and whatever the status; and
// nothing is claimed that its counters do not say.
func TestWhatTheKernelDidIsTold(t *testing.T) {
	testkit.HostUnchanged(t)
	root := newRoot(t)
	const hog = `sh -c 'text=x; while [ ${#text} -lt 33554432 ]; do text=$text$text; done' 2> /dev/null; `
	const killed = "the kernel has killed 1 process of the container for lack of memory\nhint: the limit was 16M: see --memory\n"
	for _, c := range []struct {
		flag, value, script string
		status              int
		want                string
	}{
		{"memory", "16m", hog + "true", 0, "stage03: " + killed},
		{"memory", "16m", hog + "exit 7", 7, "stage03: " + killed},
		{"pids", "1", "(:) 2> /dev/null", 2, "stage03: the kernel has refused the container 1 fork\nhint: the limit was 1: see --pids\n"},
		{"pids", "9", "exit 3", 3, ""},
	} {
		cmd := stage03(t, stateDir(t), "run", "--"+c.flag, c.value, root, "sh", "-c", c.script)
		out, _ := cmd.CombinedOutput()
		got := string(out)
		if i := strings.Index(got, "stage03: "); i > 0 {
			got = got[i:] // behind what the shell says
		}
		if got != c.want || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("%s: status %d, said %q", c.script, cmd.ProcessState.ExitCode(), out)
		}
	}
}

// Whom the kernel killed, and by whom the program was ended later, are two things.
func TestWhoEndedTheProgram(t *testing.T) {
	testkit.HostUnchanged(t)
	state := stateDir(t)
	cmd := stage03(t, state, "run", "--name", "after", "--memory", "16m", newRoot(t), "sh", "-c",
		"sh -c 'text=x; while [ ${#text} -lt 33554432 ]; do text=$text$text; done' 2> /dev/null; sleep 60")
	var said strings.Builder
	cmd.Stderr = &said
	sleeping(t, cmd, state, "after")
	output(t, stage03(t, state, "kill", "after"))
	if err := ended(t, cmd); err == nil {
		t.Error("it was not killed")
	}
	want := "\"sh\" was ended by SIGKILL; the kernel has killed 1 process of the container for lack of memory\nhint: the limit was 16M: see --memory\n"
	if !strings.Contains(said.String(), want) {
		t.Errorf("said %q", said.String())
	}
}

// A limit under which nothing can begin is the hint of what failed.
func TestALimitUnderWhichNothingBegins(t *testing.T) {
	testkit.HostUnchanged(t)
	said := refused(t, stage03(t, stateDir(t), "run", "--memory", "4k", newRoot(t), "sh", "-c", ":"))
	if !strings.Contains(said, "see --memory") {
		t.Errorf("said %q", said)
	}
}

// CVE-2022-29162: what whoever starts us has in his inheritable set is not the
// container's, whose bounding set does not bound that one: capabilities(7).
func TestNoCapabilityIsInherited(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv")
	root := attackRoot(t)
	for _, flags := range [][]string{{}, {"--may-mount"}} {
		args := append(append([]string{"run"}, flags...), root, "sh", "-c",
			"cat /proc/self/status; mkdir -p /t; mount -t tmpfs none /t 2> /dev/null && echo mounted")
		run := stage03(t, stateDir(t), args...)
		caps := exec.Command("setpriv", append([]string{"--inh-caps", "+sys_admin", "--ambient-caps", "+sys_admin"}, run.Args...)...)
		caps.Env = run.Env
		out, _ := caps.CombinedOutput()
		if !strings.Contains(string(out), "CapInh:\t0000000000000000\n") || strings.Contains(string(out), "mounted") != (len(flags) > 0) {
			t.Errorf("%q: %s", flags, out)
		}
	}
}

// CVE-2022-0492: who may write the file release_agent of a v1 hierarchy has the
// kernel run a program on the host. It is in the root of the hierarchy alone, and
// in a cgroup namespace no mount shows that one or makes a new hierarchy:
// cgroup1_get_tree() in the kernel.
func TestNoReleaseAgent(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `mkdir -p /t
for hierarchy in none,name=evil memory pids rdma freezer; do
	mount -t cgroup -o $hierarchy cgroup /t 2> /dev/null || continue
	echo "mounted $hierarchy"
	if [ -e /t/release_agent ]; then echo "release_agent is there"; fi
	umount /t
done
find /sys/fs/cgroup -name release_agent
echo over`
	root := attackRoot(t)
	if got := output(t, stage03(t, stateDir(t), "run", root, "sh", "-c", script)); got != "over\n" {
		t.Errorf("got %s", got)
	}
	got := output(t, stage03(t, stateDir(t), "run", "--may-mount", root, "sh", "-c", script))
	if strings.Contains(got, "release_agent") || strings.Contains(got, "evil") || !strings.HasSuffix(got, "over\n") {
		t.Errorf("with mounts: got %s", got)
	}
}

func TestTheCgroupMountIsReadOnly(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `for file in $(find /sys/fs/cgroup -type f -perm -200); do
	(cat $file > /value; cat /value > $file) 2> /dev/null && echo "wrote $file"
	mount -o remount,bind,rw ${file%/*} 2> /dev/null && echo "writable: $file"
done
mkdir /sys/fs/cgroup/x 2> /dev/null && echo "made a group"
set -- $(find /sys/fs/cgroup -name cgroup.procs)
echo "$# groups"`
	got := output(t, stage03(t, stateDir(t), "run", "--name", "ro", attackRoot(t), "sh", "-c", script))
	if !strings.HasSuffix(got, " groups\n") || strings.HasPrefix(got, "0") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %s", got)
	}
}

// A node for any device can be made, as archives need it, and not opened.
func TestADeniedDeviceIsNotOpened(t *testing.T) {
	testkit.HostUnchanged(t)
	root := attackRoot(t)
	const script = `for number in "c 1 1" "c 1 11" "c 10 229" "b 7 0"; do
	mknod "/dev/$number" $number || echo "no node $number"
	(exec 3< "/dev/$number") 2> /dev/null && echo "opened $number"
done
head -c 1 /dev/zero > /dev/null && echo over`
	if got := output(t, stage03(t, stateDir(t), "run", root, "sh", "-c", script)); got != "over\n" {
		t.Errorf("got %s", got)
	}
	got := output(t, stage03(t, stateDir(t), "run", "--device", "c 1:11 r", root, "sh", "-c", script))
	if got != "opened c 1 11\nover\n" {
		t.Errorf("with a rule for one: got %s", got)
	}
}

// The pid of a process, written to cgroup.procs of another group, moves it. From
// inside, no group is to be seen but the container's own.
func TestNobodyLeavesTheGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `mkdir -p /t
try() { for up in . .. ../..; do (echo 1 > "$1/$up/cgroup.procs") 2> /dev/null; done; }
for dir in $(find /sys/fs/cgroup -type d); do try $dir; done
for type in "cgroup2" "cgroup -o memory" "cgroup -o pids" "cgroup -o freezer" "cgroup -o name=systemd"; do
	mount -t $type cgroup /t 2> /dev/null && try /t && umount /t
done
exec sleep 60`
	root := attackRoot(t)
	for _, flags := range [][]string{{}, {"--may-mount"}} {
		args := append(append([]string{"run", "--name", "stay"}, flags...), root, "sh", "-c", script)
		state := stateDir(t)
		cmd := stage03(t, state, args...)
		sleeping(t, cmd, state, "stay")
		for hierarchy, dir := range groupOf(t, state, "stay").Paths() {
			if pids, err := os.ReadFile(dir + "/cgroup.procs"); len(pids) == 0 {
				t.Errorf("%v: it has left the group of %q (error %v)", flags, hierarchy, err)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := ended(t, cmd); err == nil {
			t.Error("success after SIGTERM")
		}
	}
}

// A container that may mount can freeze itself, and in version 1 SIGKILL waits for
// ever. Both who ends it thaw it first.
func TestAContainerThatFreezesItselfCanBeEnded(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `mkdir -p /t
if mount -t cgroup -o freezer cgroup /t 2> /dev/null; then echo FROZEN > /t/freezer.state
else mount -t cgroup2 cgroup2 /t && echo 1 > /t/cgroup.freeze; fi
exec sleep 60`
	root := attackRoot(t)
	for name, end := range map[string]func(state string, cmd *exec.Cmd){
		"kill": func(state string, _ *exec.Cmd) { output(t, stage03(t, state, "kill", "ice")) },
		"SIGTERM": func(_ string, cmd *exec.Cmd) {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		},
	} {
		state := stateDir(t)
		awake(t, state, "ice")
		cmd := stage03(t, state, "run", "--name", "ice", "--may-mount", root, "sh", "-c", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		group := groupOf(t, state, "ice")
		await(t, "a frozen container", group.Frozen)
		end(state, cmd)
		if err := ended(t, cmd); err == nil {
			t.Errorf("%s: success", name)
		}
	}
}

// One that freezes a group of its own again and again is ended as well.
func TestAContainerThatFreezesItselfAgainAndAgain(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `mkdir -p /t
if mount -t cgroup -o freezer cgroup /t 2> /dev/null; then file=freezer.state value=FROZEN; else mount -t cgroup2 cgroup2 /t; file=cgroup.freeze value=1; fi
mkdir /t/f
sleep 60 & echo $! > /t/f/cgroup.procs
freeze() { while :; do echo $value > /t/f/$file; done; }
freeze & freeze & freeze & wait`
	state := stateDir(t)
	awake(t, state, "ice")
	cmd := stage03(t, state, "run", "--name", "ice", "--may-mount", attackRoot(t), "sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := groupOf(t, state, "ice")
	await(t, "a frozen group", func() bool {
		for _, dir := range group.Paths() {
			for file, frozen := range map[string]string{"freezer.state": "FROZEN", "cgroup.freeze": "1"} {
				if text, err := os.ReadFile(dir + "/f/" + file); err == nil && strings.TrimSpace(string(text)) == frozen {
					return true
				}
			}
		}
		return false
	})
	terminate(t, cmd)
}

// Nor does a container stay whose groups no path can name.
func TestGroupsDeeperThanAnyPath(t *testing.T) {
	testkit.HostUnchanged(t)
	const script = `mkdir -p /t
mount -t cgroup -o pids cgroup /t 2> /dev/null || mount -t cgroup2 cgroup2 /t || exit 1
name=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789
name=$name$name
cd /t
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do mkdir $name && cd -P $name || exit 2; done
echo $$ > cgroup.procs || exit 3
exec sleep 60`
	state := stateDir(t)
	awake(t, state, "deep")
	cmd := stage03(t, state, "run", "--name", "deep", "--may-mount", attackRoot(t), "sh", "-c", script)
	sleeping(t, cmd, state, "deep")
	output(t, stage03(t, state, "freeze", "deep"))
	output(t, stage03(t, state, "kill", "deep"))
	if err := ended(t, cmd); err == nil || cmd.ProcessState.ExitCode() != 137 {
		t.Errorf("it ended with %v", err)
	}
}
