package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// exec, as a user of runc knows it: a further process in a container that runs.

// sleeping makes a container that runs and does nothing.
func sleeping(t *testing.T, edits ...func(*specs.Spec)) *bundle {
	t.Helper()
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, append([]func(*specs.Spec){program("sleep", "1000")}, edits...)...)
	b.launch()
	return b
}

// launch runs the bundle, detached.
func (b *bundle) launch() {
	b.Helper()
	b.succeed("run", "--detach", "--bundle", b.dir, b.id)
}

// end deletes the container, and makes sure that nothing is left.
func (b *bundle) end() {
	b.Helper()
	b.succeed("delete", "--force", b.id)
	b.wantNothing()
}

// lookAround prints what a process is and has, as far as it is the same in two
// containers.
const lookAround = `busybox id; pwd; umask; busybox sort /proc/self/cgroup | busybox wc -l
busybox grep -E 'Cap|NoNewPrivs|Groups|PPid|Seccomp:' /proc/$$/status; busybox env | busybox sort; busybox ls /proc/self/fd | busybox wc -l
busybox hostname; busybox ulimit -n 2>/dev/null || ulimit -n`

// runc is the judge of what exec's flags mean: what a process sees in a container
// of runc's, it sees in the same container of ours.
func TestExecMeansWhatItMeansToRunc(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"), func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 10, GID: 20, AdditionalGids: []uint32{30}}
	})
	b.launch()
	defer b.end()
	state := t.TempDir()
	runc := func(args ...string) result {
		return b.finish(exec.Command("runc", append([]string{"--root", state}, args...)...))
	}
	if r := runc("run", "--detach", "--bundle", b.dir, "theirs"); r.status != 0 {
		t.Fatal(r.err)
	}
	defer runc("delete", "--force", "theirs")
	process := filepath.Join(t.TempDir(), "process.json")
	b.must(os.WriteFile(process, []byte(`{"user": {"uid": 3, "gid": 4}, "args": ["/bin/sh", "-c", "busybox id; pwd; busybox env | busybox sort"],
		"env": ["PATH=/bin", "X=y"], "cwd": "/bin", "noNewPrivileges": true, "unknown": 1}`), 0o600))
	look := []string{"sh", "-c", lookAround}
	for _, c := range [][]string{
		append([]string{"ID"}, look...),
		append([]string{"--user", "5:6", "ID"}, look...),
		append([]string{"-u", "5", "ID"}, look...),
		append([]string{"-u", "0", "ID"}, look...),
		append([]string{"-u", "1:1", "-g", "7", "-g", "8", "ID"}, look...),
		append([]string{"--cwd", "/bin", "-e", "A=b", "-e", "HOME=/x y", "ID"}, look...),
		append([]string{"-e", "A=1,2", "-e", "B= , C=", "-e", "D=a,E=b", "ID"}, look...),
		append([]string{"--cap", "CAP_NET_ADMIN", "--cap", "CAP_CHOWN", "-u", "0:0", "ID"}, look...),
		append([]string{"--no-new-privs", "ID"}, look...),
		append([]string{"--no-new-privs=false", "ID"}, look...),
		{"--process", process, "ID"},
		{"ID", "sh", "-c", "exit 42"},
		{"ID", "sh", "-c", "kill -9 $$"},
		{"ID", "sh", "-c", "kill -15 $$"},
		{"ID", "nonesuch"},
		{"ID", "/bin"},
		{"ID"},
		{"-u", "web", "ID", "true"},
		{"--cwd", "/nowhere", "ID", "true"},
		{"ID", "busybox", "--", "-c", "an option of the program"},
	} {
		with := func(id string) []string {
			return append([]string{"exec"}, strings.Split(strings.ReplaceAll(strings.Join(c, "\x00"), "ID", id), "\x00")...)
		}
		theirs, ours := runc(with("theirs")...), b.do(with(b.id)...)
		if ours.status != theirs.status || ours.out != theirs.out {
			t.Errorf("exec %q: status %d, printed\n%s%s\nrunc: status %d, printed\n%s%s", c, ours.status, ours.out, ours.err, theirs.status, theirs.out, theirs.err)
		}
	}
}

// A further process is in all namespaces of the first one and in its cgroup, has no
// parent in there and a session of its own, and gets input and environment.
func TestMust21ExecEntersAllThatTheContainerHas(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"), ownUsers, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1_000_000}}
	})
	b.reachable()
	b.launch()
	defer b.end()
	cmd := b.command("exec", b.id, "sh", "-c", `for n in cgroup ipc mnt net pid time user uts; do
		busybox test "$(busybox readlink /proc/self/ns/$n)" = "$(busybox readlink /proc/1/ns/$n)" || echo another $n; done
		busybox cmp /proc/1/cgroup /proc/self/cgroup; busybox id -u; busybox awk '{print $4, $6 == $1}' /proc/$$/stat
		busybox awk '{print ($1 > 1000000)}' /proc/uptime; busybox cat`)
	cmd.Stdin = strings.NewReader("from outside\n")
	if r := b.finish(cmd); r.status != 0 || r.out != "0\n0 1\n1\nfrom outside\n" {
		t.Errorf("status %d, printed\n%s%s", r.status, r.out, r.err)
	}
}

// pidOf is the number in a pid file.
func (b *bundle) pidOf(file string) int {
	b.Helper()
	var pid int
	_, err := fmt.Sscan(b.read(file), &pid)
	b.must(err)
	return pid
}

func TestADetachedExec(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	folder := t.TempDir()
	pidFile, socket := filepath.Join(folder, "pid"), filepath.Join(folder, "socket")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	b.must(err)
	defer listener.Close()
	b.succeed("exec", "--detach", "--pid-file", pidFile, "--pidfd-socket", socket, b.id, "sleep", "1001")
	pid := b.pidOf(pidFile)
	if got := strings.ReplaceAll(b.read(fmt.Sprintf("/proc/%d/cmdline", pid)), "\x00", " "); got != "sleep 1001 " {
		t.Errorf("process %d is %q", pid, got)
	}
	var pids []int
	b.must(json.Unmarshal([]byte(b.succeed("ps", "--format", "json", b.id)), &pids))
	if len(pids) != 2 || !slices.Contains(pids, pid) {
		t.Errorf("processes %v, want two and %d", pids, pid)
	}
	pidfd := receive(b, listener)
	defer pidfd.Close()
	b.must(unix.PidfdSendSignal(int(pidfd.Fd()), unix.SIGKILL, nil, 0))
	b.eventually("the process ends", func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil
	})
}

func TestExecAtATerminal(t *testing.T) {
	b := sleeping(t)
	s := newScreen(b)
	cmd := b.command("exec", "--tty", b.id, "sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	b.must(cmd.Start())
	s.wait(0, "/ # ")
	s.enter("stty size\n", "33 91\r\n")
	s.resize(20, 50)
	s.enter("until [ \"$(stty size)\" = '20 50' ]; do :; done; echo re''sized\n", "resized\r\n")
	s.interruptSleep()
	s.enter("tty\n", "/dev/pts/0") // of the container's own /dev/pts
	_, err := s.master.WriteString("exit 3\n")
	b.must(err)
	_ = cmd.Wait() // the status says it
	if status := cmd.ProcessState.ExitCode(); status != 3 {
		t.Errorf("status %d, want 3; the screen shows\n%s", status, s.shown())
	}
	s.close()
	b.end()
}

func TestExecHandsItsTerminalToAConsoleSocket(t *testing.T) {
	b := sleeping(t, func(s *specs.Spec) { s.Process.User.UID = 7 })
	socket := filepath.Join(t.TempDir(), "console")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	b.must(err)
	defer listener.Close()
	process := filepath.Join(t.TempDir(), "process.json")
	b.must(os.WriteFile(process, []byte(`{"terminal": true, "consoleSize": {"height": 11, "width": 22}, "user": {"uid": 7, "gid": 0},
		"args": ["sh"], "env": ["PATH=/bin"], "cwd": "/"}`), 0o600))
	b.succeed("exec", "--detach", "--process", process, "--console-socket", socket, b.id)
	s := watch(b, receive(b, listener))
	s.wait(0, "/ $ ")
	s.enter("stty size; busybox stat -c %u $(tty); exit\n", "11 22\r\n7\r\n")
	s.close()
	b.end()
}

// The container may put what it likes on /dev/pts. What is no terminal multiplexer
// is not opened, and no file of the host is reached (CVE-2025-52565).
func TestATerminalComesFromADevptsOrNotAtAll(t *testing.T) {
	b := sleeping(t, func(s *specs.Spec) {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "devpts" })
	})
	defer b.end()
	pid := strconv.Itoa(b.pid(b.id))
	for _, damage := range []string{
		"true",
		"mkdir -p /dev/pts && ln -sf /proc/sys/kernel/core_pattern /dev/pts/ptmx",
		"ln -sf /proc/1/fd/0 /dev/pts/ptmx",
		"rm /dev/pts/ptmx && mknod /dev/pts/ptmx c 5 2",
		"rm /dev/pts/ptmx && mkfifo /dev/pts/ptmx",
	} {
		cmd := exec.Command("nsenter", "--target", pid, "--mount", "busybox", "sh", "-c", damage)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", damage, err, out)
		}
		r := b.do("exec", "--tty", b.id, "true")
		if r.status != 255 || !strings.HasPrefix(r.err, "skiff-oci: exec: make a terminal: ") {
			t.Errorf("%s: status %d, %s", damage, r.status, r.err)
		}
	}
}

func TestExecPassesSignalsOn(t *testing.T) {
	b := sleeping(t)
	r := b.start("ready", "exec", b.id, "sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.01; done")
	r.signal(syscall.SIGTERM)
	if status, said := r.end(); status != 9 || !strings.Contains(said, "caught") {
		t.Errorf("status %d, want 9: %s", status, said)
	}
	r.bundle.end()
}

func TestExecKeepsDescriptorsOnDemand(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	file := filepath.Join(t.TempDir(), "three")
	b.must(os.WriteFile(file, []byte("from descriptor 3"), 0o600))
	for option, want := range map[string]string{"--preserve-fds=1": "from descriptor 3", "--preserve-fds=0": ""} {
		three, err := os.Open(file)
		b.must(err)
		cmd := b.command("exec", option, b.id, "sh", "-c", "cat <&3")
		cmd.ExtraFiles = []*os.File{three}
		if got := b.finish(cmd); got.out != want {
			t.Errorf("%s: got %q, want %q: %s", option, got.out, want, got.err)
		}
		b.must(three.Close())
	}
	if r := b.do("exec", "--preserve-fds=1", b.id, "true"); r.status != 255 || !strings.Contains(r.err, "3 is not open") {
		t.Errorf("a descriptor that is not there: status %d, %s", r.status, r.err)
	}
}

// --cgroup names a group below the container's, which must exist; it never leads
// above.
func TestExecInAGroupBelowTheContainers(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	group := ""
	for line := range strings.Lines(b.read("/proc/" + strconv.Itoa(b.pid(b.id)) + "/cgroup")) {
		if strings.Contains(line, ":pids:") {
			_, group, _ = strings.Cut(strings.TrimSpace(line), ":pids:")
		}
	}
	if group == "" {
		t.Skip("this machine has no v1 hierarchy for pids; --cgroup with cgroup v2 is tested in a machine that has it alone")
	}
	b.must(os.Mkdir("/sys/fs/cgroup/pids"+group+"/below", 0o755))
	inside := []string{b.id, "busybox", "grep", ":pids:", "/proc/self/cgroup"}
	got := b.succeed(append([]string{"exec", "--cgroup", "pids:below"}, inside...)...)
	if !strings.HasSuffix(got, ":pids:"+group+"/below\n") {
		t.Errorf("the process is in %s", got)
	}
	got = b.succeed(append([]string{"exec", "--cgroup", "pids:../../below"}, inside...)...)
	if !strings.HasSuffix(got, ":pids:"+group+"/below\n") {
		t.Errorf("with dots the process is in %s", got)
	}
	both := []string{b.id, "busybox", "grep", "-E", ":(pids|devices):", "/proc/self/cgroup"}
	b.must(os.Mkdir(filepath.Join(b.groupDir("devices"), "below"), 0o755))
	for _, flags := range [][]string{{"--cgroup", "pids,devices:below"}, {"--cgroup", "pids:below", "--cgroup", "devices:below"}} {
		got := b.succeed(slices.Concat([]string{"exec"}, flags, both)...)
		if strings.Count(got, "\n") != 2 || strings.Count(got, "/below\n") != 2 {
			t.Errorf("exec %q: the process is in %s", flags, got)
		}
	}
	if r := b.do("exec", "--cgroup", "nowhere", b.id, "true"); r.status != 255 || !strings.Contains(r.err, "nowhere") {
		t.Errorf("no such group: status %d, %s", r.status, r.err)
	}
}

// What goes wrong with exec, and what is said.
func TestWhatExecSaysWhenItFails(t *testing.T) {
	b := sleeping(t)
	defer b.end()
	b.succeed("create", "--bundle", b.dir, "stopped")
	b.succeed("kill", "stopped", "KILL")
	b.eventually("it has stopped", func() bool { return b.status("stopped") == specs.StateStopped })
	defer b.succeed("delete", "stopped")
	b.must(os.WriteFile(b.path("bin/script"), []byte("#!/bin/nonesuch\n"), 0o755))
	garbage := filepath.Join(t.TempDir(), "garbage.json")
	b.must(os.WriteFile(garbage, []byte(`{"args": [7]}`), 0o600))
	empty := filepath.Join(t.TempDir(), "empty.json")
	b.must(os.WriteFile(empty, []byte(`{"cwd": "/"}`), 0o600))
	var said strings.Builder
	for _, args := range [][]string{
		{},
		{"box"},
		{"nobody", "true"},
		{"../box", "true"},
		{"stopped", "true"},
		{"box", "nonesuch"},
		{"box", "/bin"},
		{"box", "/bin/script"},
		{"--cwd", "/nowhere", "box", "true"},
		{"--cwd", "here", "box", "true"},
		{"--cwd", "/proc/self/fd/0", "box", "true"},
		{"--user", "web", "box", "true"},
		{"--user", "4294967296", "box", "true"},
		{"--user", "-1", "box", "true"},
		{"--user", "1:", "box", "true"},
		{"--user", "", "box", "true"},
		{"--additional-gids", "-1", "box", "true"},
		{"--additional-gids", "7,8", "box", "true"},
		{"--env", "HOME", "box", "true"},
		{"--process", "/nowhere/process.json", "box"},
		{"--process", garbage, "box"},
		{"--process", empty, "box"},
		{"--tty", "--detach", "box", "true"},
		{"--console-socket", "/nowhere", "box", "true"},
		{"--cgroup", "pids:", "box", "true"},
		{"--cgroup", "dream:below", "box", "true"},
		{"--pid-file", "/nowhere/pid", "--detach", "box", "sleep", "1000"},
		{"--explain=loudly", "box", "true"},
		{"--nonesuch", "box", "true"},
	} {
		r := b.do(append([]string{"exec"}, args...)...)
		fmt.Fprintf(&said, "$ skiff-oci exec %s\n%s%s(status %d)\n", strings.Join(args, " "), r.out, r.err, r.status)
		wantOneLine(t, strings.Join(args, " "), r.err)
	}
	testkit.Golden(t, steps.ReplaceAllString(said.String(), "(step N of M)"), "exec.golden")
	if out := b.succeed("ps", "--format", "json", "box"); strings.Contains(out, ",") {
		t.Errorf("more than one process is left in the container: %s", out)
	}
}

// --explain, of all commands that make a process do something.
func TestExplainSaysWhatWasDoneAndHowLongItTook(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sleep", "1000"))
	type step struct {
		Call         string
		Section      string
		Result       int
		Errno        string
		Microseconds float64
	}
	explained := func(want string, args ...string) {
		t.Helper()
		r := b.do(args...)
		var all []step
		if err := json.Unmarshal([]byte(r.err), &all); err != nil || r.status != 0 {
			t.Fatalf("%v: status %d, %v: %s", args, r.status, err, r.err)
		}
		i := slices.IndexFunc(all, func(s step) bool { return strings.Contains(s.Call, want) })
		if i < 0 || all[i].Microseconds <= 0 || all[i].Section == "" {
			t.Errorf("%v: no %s with a time in %v", args, want, all)
		}
		if i := slices.IndexFunc(all, func(s step) bool { return s.Errno != "" }); i >= 0 && all[i].Result != -1 {
			t.Errorf("%v: a failure with result %d", args, all[i].Result)
		}
	}
	explained("pivot_root(", "create", "--explain=json", "--bundle", b.dir, "box")
	explained("capset(", "start", "--explain=json", "box")
	explained("setns(process", "exec", "--explain=json", "box", "true")
	if r := b.do("exec", "--explain", "box", "nonesuch"); r.status != 255 || !strings.Contains(r.err, "→ -1 ENOENT") {
		t.Errorf("a failed exec: status %d, %s", r.status, r.err)
	}
	b.end()
}
