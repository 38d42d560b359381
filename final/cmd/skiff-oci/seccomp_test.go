package main_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
)

// The seccomp filter of a configuration, felt by programs in containers: that it
// is there, whenever it is installed, and that an agent gets what is its.

// filter gives a configuration a profile that allows all but these entries.
func filter(entries ...specs.LinuxSyscall) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Seccomp = &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32}, Syscalls: entries,
		}
	}
}

// unsupported is an entry that fails with an errno nobody would return otherwise.
func unsupported(names ...string) specs.LinuxSyscall {
	errno := uint(unix.ESTALE)
	return specs.LinuxSyscall{Names: names, Action: specs.ActErrno, ErrnoRet: &errno}
}

// as makes a program's user, and whether it may gain privileges.
func as(uid uint32, noNewPrivileges bool) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Process.User.UID, s.Process.NoNewPrivileges = uid, noNewPrivileges
	}
}

// tryIt tries what the filter forbids, and shows what the kernel knows of it.
const tryIt = "busybox mkdir /dev/shm/made; busybox grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; busybox grep CapEff /proc/self/status"

// With and without no_new_privs the filter comes at another place of the plan, and
// the user decides who may still install it there.
func TestMust17TheFilterHoldsWhoeverTheProgramIs(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("sh", "-c", tryIt), filter(unsupported("mkdir", "mkdirat")))
	for _, c := range []struct {
		uid             uint32
		noNewPrivileges bool
		want            string
	}{
		{0, true, "NoNewPrivs:\t1\nSeccomp:\t2\nCapEff:\t0000000020000420\n"},
		{0, false, "NoNewPrivs:\t0\nSeccomp:\t2\nCapEff:\t0000000020000420\n"},
		{1000, true, "NoNewPrivs:\t1\nSeccomp:\t2\nCapEff:\t0000000000000000\n"},
		{1000, false, "NoNewPrivs:\t0\nSeccomp:\t2\nCapEff:\t0000000000000000\n"},
	} {
		b.edit(as(c.uid, c.noNewPrivileges))
		got := b.do("run", "--bundle", b.dir, b.id)
		if got.status != 0 || got.out != c.want || !strings.Contains(got.err, "mkdir: can't create directory '/dev/shm/made': Stale file handle") {
			t.Errorf("user %d, no_new_privs %v: status %d\n%s%s", c.uid, c.noNewPrivileges, got.status, got.out, got.err)
		}
	}
	b.wantNothing()
}

// The filter is there for a created container, and for a process that joins it.
func TestMust17TheFilterHoldsForCreateAndExec(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, noNewPrivileges := range []bool{true, false} {
		b := newBundle(t, program("sh", "-c", tryIt+"; exec sleep 1000"), filter(unsupported("mkdir", "mkdirat")), as(0, noNewPrivileges))
		b.succeed("create", "--bundle", b.dir, b.id)
		b.succeed("start", b.id)
		got := b.do("exec", b.id, "sh", "-c", tryIt)
		if got.status != 0 || !strings.Contains(got.out, "Seccomp:\t2\n") || !strings.Contains(got.err, "Stale file handle") {
			t.Errorf("no_new_privs %v: status %d\n%s%s", noNewPrivileges, got.status, got.out, got.err)
		}
		b.succeed("delete", "--force", b.id)
		b.wantNothing()
	}
}

// In a user namespace CAP_SYS_ADMIN is that of the namespace, and it suffices.
func TestTheFilterHoldsInAUserNamespace(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, noNewPrivileges := range []bool{true, false} {
		b := newBundle(t, program("sh", "-c", tryIt), ownUsers, filter(unsupported("mkdir", "mkdirat")), as(0, noNewPrivileges))
		b.reachable()
		got := b.do("run", "--bundle", b.dir, b.id)
		if got.status != 0 || !strings.Contains(got.out, "Seccomp:\t2\n") || !strings.Contains(got.err, "Stale file handle") {
			t.Errorf("no_new_privs %v: status %d\n%s%s", noNewPrivileges, got.status, got.out, got.err)
		}
		b.wantNothing()
	}
}

// A profile without what is needed after the filter is refused at create, by name.
func TestAProfileThatLeavesThePlanNoWay(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	for _, c := range []struct {
		call            string
		noNewPrivileges bool
		want            string
	}{
		{"execve", true, `skiff-oci: linux.seccomp refuses execve, which is needed after it to execute "true"` + "\nhint: allow it in the profile\n"},
		{"capset", false, "skiff-oci: linux.seccomp refuses capset, which is needed after it to set capabilities\n" +
			"hint: allow it in the profile, or set process.noNewPrivileges: then the filter comes last\n"},
		{"capset", true, ""},
		{"rt_sigprocmask", true, ""},
		{"setresuid", false, ""},
		{"close_range", false, ""}, // profiles from before Linux 5.9 do not have it
	} {
		b := newBundle(t, program("true"), filter(unsupported(c.call)), as(0, c.noNewPrivileges))
		if got := b.do("run", "--bundle", b.dir, b.id); got.err != c.want || (got.status == 0) != (c.want == "") {
			t.Errorf("%s, no_new_privs %v: status %d\n%s", c.call, c.noNewPrivileges, got.status, got.err)
		}
		b.wantNothing()
	}
}

// A program that is killed by its filter ends by SIGSYS.
func TestAProgramThatTheFilterKills(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("busybox", "mkdir", "/dev/shm/made"),
		filter(specs.LinuxSyscall{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActKillProcess}))
	if got := b.do("run", "--bundle", b.dir, b.id); got.status != 128+int(unix.SIGSYS) {
		t.Errorf("status %d: %s", got.status, got.err)
	}
}

// An agent listens for what containers send to it.
type agent struct {
	*bundle
	socket *net.UnixListener
}

// newAgent makes one, and the edit that makes a configuration ask it about mkdir.
func newAgent(b *bundle) (*agent, func(*specs.Spec)) {
	b.Helper()
	name := filepath.Join(b.TempDir(), "agent")
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: name})
	b.must(err)
	b.Cleanup(func() { _ = socket.Close() }) // a second time is an error
	return &agent{b, socket}, func(s *specs.Spec) {
		filter(specs.LinuxSyscall{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActNotify})(s)
		s.Linux.Seccomp.ListenerPath, s.Linux.Seccomp.ListenerMetadata = name, "for the agent"
	}
}

// accept takes one connection, which carries one message with one descriptor, and
// is closed then.
func (a *agent) accept() (state specs.ContainerProcessState, listener *os.File) {
	a.Helper()
	a.must(a.socket.SetDeadline(time.Now().Add(20 * time.Second)))
	connection, err := a.socket.AcceptUnix()
	a.must(err)
	defer connection.Close()
	a.must(connection.SetDeadline(time.Now().Add(20 * time.Second)))
	text, rights := make([]byte, 1<<16), make([]byte, 1024)
	n, m, _, _, err := connection.ReadMsgUnix(text, rights)
	a.must(err)
	a.must(json.Unmarshal(text[:n], &state))
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	a.must(err)
	fds, err := unix.ParseUnixRights(&messages[0])
	a.must(err)
	if rest, _ := connection.Read(make([]byte, 1)); rest != 0 || len(fds) != 1 || len(messages) != 1 {
		a.Errorf("%d descriptors in %d messages, and more data: %v", len(fds), len(messages), rest != 0)
	}
	return state, os.NewFile(uintptr(fds[0]), "listener")
}

// refuse answers one call with an errno, and returns its number and its process.
func (a *agent) refuse(listener *os.File, errno unix.Errno) {
	a.Helper()
	var notification [10]uint64 // struct seccomp_notif
	control := func(request uintptr, what unsafe.Pointer) {
		a.Helper()
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, listener.Fd(), request, uintptr(what)); e != 0 {
			a.Fatalf("ioctl %#x: %v", request, e)
		}
	}
	poll := []unix.PollFd{{Fd: int32(listener.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 20_000); n != 1 {
		a.Fatalf("nothing is asked: %v", err)
	}
	control(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&notification))
	response := [3]uint64{notification[0], 0, uint64(uint32(-int32(errno)))} // struct seccomp_notif_resp
	control(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&response))
}

// One connection, the descriptor in the first message: run, create and
// exec each bring the agent a listener of their own.
func TestMust32TheAgentGetsTheListener(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	const ask = "busybox mkdir /dev/shm/made"
	for _, noNewPrivileges := range []bool{true, false} {
		b := newBundle(t, program("sh", "-c", ask+"; exec sleep 1000"), as(0, noNewPrivileges))
		a, notify := newAgent(b)
		b.edit(notify, func(s *specs.Spec) { s.Annotations = map[string]string{"color": "blue"} })
		created := make(chan result, 1)
		go func() { created <- b.do("create", "--bundle", b.dir, b.id) }()
		state, listener := a.accept()
		defer listener.Close()
		if r := <-created; r.status != 0 {
			t.Fatalf("create: %s", r.err)
		}
		bundle, err := filepath.Abs(b.dir)
		b.must(err)
		if state.Version != specs.Version || len(state.Fds) != 1 || state.Fds[0] != "seccompFd" || state.Metadata != "for the agent" ||
			state.State.ID != b.id || state.State.Status != specs.StateCreating || state.State.Bundle != bundle ||
			state.Pid != state.State.Pid || state.Pid <= 0 || state.State.Annotations["color"] != "blue" {
			t.Errorf("the agent is told %+v", state)
		}
		b.succeed("start", b.id)
		a.refuse(listener, unix.EXDEV)
		executed := make(chan result, 1)
		go func() { executed <- b.do("exec", b.id, "sh", "-c", ask) }()
		further, another := a.accept()
		defer another.Close()
		a.refuse(another, unix.ENOSPC)
		if r := <-executed; r.status != 1 || !strings.Contains(r.err, "No space left on device") {
			t.Errorf("exec: status %d: %s", r.status, r.err)
		}
		if further.Pid == state.Pid || further.State.Pid != state.Pid || further.State.Status != specs.StateRunning {
			t.Errorf("of exec the agent is told %+v", further)
		}
		b.succeed("delete", "--force", b.id)
		b.wantNothing()
	}
}

// Without an agent there is no container: it would wait for ever at the first call.
func TestMust32WithoutAnAgentThereIsNoContainer(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"))
	a, notify := newAgent(b)
	b.edit(notify)
	b.must(a.socket.Close())
	for _, command := range []string{"run", "create"} {
		got := b.do(command, "--bundle", b.dir, b.id)
		if got.status != 1 || !strings.Contains(got.err, "skiff-oci: hand the seccomp listener over: connect to socket ") ||
			!strings.Contains(got.err, "hint: linux.seccomp.listenerPath is where the agent must wait\n") {
			t.Errorf("%s: status %d: %s", command, got.status, got.err)
		}
		b.wantNothing()
	}
}

// A hook of the container has the container's filter, and a listener of its own.
func TestAStartContainerHookAsksTheAgent(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t, program("true"))
	a, notify := newAgent(b)
	b.edit(notify, withHooks("startContainer", specs.Hook{Path: "/bin/busybox", Args: []string{"mkdir", "/dev/shm/made"}}))
	ran := make(chan result, 1)
	go func() { ran <- b.do("run", "--bundle", b.dir, b.id) }()
	_, first := a.accept()
	defer first.Close()
	_, second := a.accept()
	defer second.Close()
	a.refuse(second, unix.EDQUOT)
	if r := <-ran; r.status != 1 || !strings.Contains(r.err, "startContainer hook 1 of 1") || !strings.Contains(r.err, "quota exceeded") {
		t.Errorf("status %d: %s", r.status, r.err)
	}
	b.wantNothing()
}
