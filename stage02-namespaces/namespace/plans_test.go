package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/namespace"
)

// planOf is a set as a plan shows it: what the process is born with, and the
// steps.
func planOf(title string, set *namespace.Set) string {
	p := &plan.Plan{}
	set.Steps(p)
	set.LateSteps(p)
	var text strings.Builder
	fmt.Fprintf(&text, "== %s: clone3 %s\n", title, plan.CloneFlags(uint64(set.Born())))
	for _, s := range p.Steps() {
		fmt.Fprintln(&text, s)
	}
	return text.String()
}

func TestThePlanForNewNamespaces(t *testing.T) {
	var text strings.Builder
	for _, k := range namespace.Kinds {
		text.WriteString(planOf("new "+string(k.Type), newSet(t, namespaces(k.Type))))
	}
	text.WriteString(planOf("new pid and time", newSet(t, namespaces("time", "pid"))))
	text.WriteString(planOf("all new", newSet(t, namespaces(allTypes()...))))
	offset := newSet(t, namespaces("time", "user"))
	if err := offset.SetTimeOffsets(map[string]specs.LinuxTimeOffset{
		"monotonic": {Secs: -5}, "boottime": {Secs: 86400, Nanosecs: 500},
	}); err != nil {
		t.Fatal(err)
	}
	text.WriteString(planOf("new user and time, clocks set", offset))
	testkit.Golden(t, text.String(), "new.golden")
}

func TestThePlanForJoinedNamespaces(t *testing.T) {
	testkit.HostUnchanged(t)
	other, host := holder(t, allTypes()...), holder(t, "network", "mount")
	path := func(pid int, kind specs.LinuxNamespaceType) specs.LinuxNamespace {
		k, err := namespace.ByType(kind)
		if err != nil {
			t.Fatal(err)
		}
		return specs.LinuxNamespace{Type: kind, Path: fmt.Sprintf("/proc/%d/ns/%s", pid, k.File)}
	}
	var text strings.Builder
	show := func(title string, set *namespace.Set) { text.WriteString(planOf(title, set)) }
	for _, k := range namespace.Kinds {
		show(string(k.Type)+" joined", newSet(t, []specs.LinuxNamespace{path(other.Pid, k.Type)}))
	}
	user := path(other.Pid, "user")
	show("joined user, new uts", newSet(t, append(namespaces("uts"), user)))
	show("joined user with a network of its own, and a mount namespace of the host's",
		newSet(t, []specs.LinuxNamespace{path(other.Pid, "network"), path(host.Pid, "mount"), user}))
	show("new user, pid joined", newSet(t, append(namespaces("user", "uts"), path(other.Pid, "pid"))))
	all := newSet(t, nil)
	join(t, all, other.Pidfd(), everything)
	show("all of a process", all)
	some := newSet(t, append(namespaces("uts", "cgroup"), user))
	join(t, some, host.Pidfd(), unix.CLONE_NEWNET|unix.CLONE_NEWIPC)
	show("network of a process, its ipc namespace is ours; user joined by path; uts and cgroup new", some)
	testkit.Golden(t, text.String(), "joined.golden")
}

// A path to one's own namespace asks for nothing: the kernel would refuse it
// for a user namespace, and who asks whether the container has a network of
// its own (for its sysctls, say) must hear no.
func TestANamespaceThatIsOursAnywayIsNotJoined(t *testing.T) {
	var own []specs.LinuxNamespace
	for _, k := range namespace.Kinds {
		own = append(own, specs.LinuxNamespace{Type: k.Type, Path: "/proc/self/ns/" + k.File})
	}
	set := newSet(t, own)
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	self := os.NewFile(uintptr(fd), "pidfd")
	defer self.Close()
	join(t, set, self, everything)
	p := &plan.Plan{}
	set.Steps(p)
	if p.Len() != 0 || set.Has(everything) || set.Born() != 0 {
		t.Errorf("there are steps, or Has says yes:\n%s", p)
	}
}

// What counts is where a child would be born: after unshare(2) that is not
// where its parent is.
func TestOurPidNamespaceIsJoinedWhereChildrenGetAnother(t *testing.T) {
	testkit.HostUnchanged(t)
	ours, err := os.Open("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWPID); err != nil {
		t.Fatal(err)
	}
	set, err := namespace.NewSet([]specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: ours.Name()}})
	if err := errors.Join(err, unix.Setns(int(ours.Fd()), unix.CLONE_NEWPID)); err != nil { // this thread's children are ours again
		t.Fatal(err)
	}
	if !set.Has(unix.CLONE_NEWPID) {
		t.Error("it is not joined")
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
}

// everything are the flags of all kinds.
const everything = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// allTypes are the names of all kinds.
func allTypes() []specs.LinuxNamespaceType {
	var all []specs.LinuxNamespaceType
	for _, k := range namespace.Kinds {
		all = append(all, k.Type)
	}
	return all
}

// join is Set.JoinProcess.
func join(t *testing.T, set *namespace.Set, pidfd *os.File, kinds int) {
	t.Helper()
	if err := set.JoinProcess(pidfd, kinds); err != nil {
		t.Fatal(err)
	}
}
