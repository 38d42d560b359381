package namespace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/namespace"
)

func TestANamespaceOfEachKindIsJoinedByPidfd(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, allTypes()...)
	theirs, ours := of(t, other.Pid), of(t, os.Getpid())
	for _, kind := range namespace.Kinds {
		set := newSet(t, nil)
		join(t, set, other.Pidfd(), kind.Flag)
		inside(t, set, func(pid int) {
			for k, now := range shellOf(t, pid) {
				if k == kind.Type && now != theirs[k] || k != kind.Type && now != ours[k] {
					t.Errorf("%s joined: %s is %s", kind.Type, k, now)
				}
			}
		})
	}
}

// nsenter(1), which is written in C, gets where we get.
func TestWeAreWhereNsenterIs(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "nsenter", "lsns")
	other, links := holder(t, allTypes()...), "readlink user mnt pid net ipc uts cgroup time"
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(other.Pid), "-U", "-m", "-p", "-n", "-i", "-u", "-C", "-T",
		"sh", "-c", "cd /proc/self/ns && "+links).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	set := newSet(t, nil)
	join(t, set, other.Pidfd(), everything)
	inside(t, set, func(pid int) {
		ours, err := exec.Command("sh", "-c", fmt.Sprintf("cd /proc/%d/ns && %s", pid, links)).Output()
		// nsenter's sh looks with the host's /proc, in which it has a number.
		if err != nil || string(ours) != string(out) {
			t.Errorf("error %v\nwe are in\n%snsenter in\n%s", err, ours, out)
		}
		list, err := exec.Command("lsns", "-n", "-r", "-o", "TYPE,NS", "-p", fmt.Sprint(pid)).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range namespace.Kinds {
			inode := strings.Trim(of(t, other.Pid)[k.Type], k.File+":[]")
			if !strings.Contains("\n"+string(list), "\n"+k.File+" "+inode+"\n") {
				t.Errorf("lsns shows no %s %s, but\n%s", k.File, inode, list)
			}
		}
	})
}

// The problem that every Go program has, and launch solves: the kernel lets
// only a process of one thread join a user namespace.
func TestAGoProgramCannotJoinAUserNamespaceButItsChildCan(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.UserNamespace)
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", other.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("this program has %d threads, error %v", len(tasks), err)
	}
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWUSER); !errors.Is(err, unix.EINVAL) {
		t.Fatalf("setns with %d threads: %v", len(tasks), err)
	}
	set := newSet(t, []specs.LinuxNamespace{{Type: specs.UserNamespace, Path: file.Name()}})
	seen := probe(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
		set.Steps(p)
		p.Add(plan.Setgroups(), plan.Setresgid(0), plan.Setresuid(0))
	}, nothing, "ids")
	contains(t, seen, "uid 0 0 0", "gid 0 0 0", "uid_map 0 100000 65536")
}

func TestAProcessThatCannotBeJoinedIsRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	other, dead := holder(t, allTypes()...), holder(t, "uts")
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	plain, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	var text strings.Builder
	set := newSet(t, append(namespaces("uts"),
		specs.LinuxNamespace{Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", other.Pid)}))
	for _, err := range []error{
		set.JoinProcess(other.Pidfd(), unix.CLONE_NEWUTS),
		set.JoinProcess(other.Pidfd(), unix.CLONE_NEWNS|unix.CLONE_NEWUSER),
		set.JoinProcess(other.Pidfd(), 0),
		set.JoinProcess(other.Pidfd(), unix.CLONE_NEWNET|unix.CLONE_FS),
		set.JoinProcess(dead.Pidfd(), unix.CLONE_NEWNET),
		set.JoinProcess(plain, unix.CLONE_NEWNET),
	} {
		if err == nil {
			t.Fatal("no error")
		}
		hint.Print(&text, "test", err)
	}
	if set.Has(unix.CLONE_NEWNET | unix.CLONE_NEWNS) {
		t.Error("what was refused is in the set")
	}
	testkit.Golden(t, strings.ReplaceAll(text.String(), fmt.Sprintf("descriptor %d", plain.Fd()), "descriptor N"), "process-refused.golden")
}
