// What an ordinary user may do: nothing in a group that is not his, and below
// one that was given to him all but change that one's own limits.

package cgroup_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// nobody is a user that owns nothing.
const nobody = 65534

// asNobody runs the test again as that user, with words in its arguments.
func asNobody(t *testing.T, group *os.File, words ...string) {
	t.Helper()
	program := t.TempDir() + "/test"
	run(t, "cp "+testProgram(t)+" "+program+"; chmod 755 "+program+" $(dirname "+program+") $(dirname $(dirname "+program+"))")
	again := exec.Command(program, append([]string{"-test.run=^" + t.Name() + "$", "-test.v"}, words...)...)
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if group != nil {
		again.SysProcAttr.UseCgroupFD, again.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	again.Dir = "/"
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAnOrdinaryUserIsToldWhoseGroupItIs(t *testing.T) {
	if slices.Contains(os.Args, "ordinary") {
		m := manager(t, &cgroup.Hierarchies{V2: detect(t).V2}, "/skiff-test-theirs")
		above := manager(t, &cgroup.Hierarchies{V2: detect(t).V2}, "/skiff-test-theirs/mine")
		for what, err := range map[string]error{
			"create": above.Create(nil),
			"set":    m.Set(&specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "3"}}),
			"freeze": m.Freeze(),
		} {
			if !errors.Is(err, unix.EACCES) || !strings.Contains(hint.Of(err), "belongs to uid 0, and this is uid 65534") {
				t.Errorf("%s: %v, hint %q", what, err, hint.Of(err))
			}
		}
		return
	}
	testkit.HostUnchanged(t)
	create(t, unified(t), "theirs")
	asNobody(t, nil, "ordinary")
}

// In a group of his own, the user makes groups, hands controllers down, sets
// limits and removes it all; the group's own limits are not his.
func TestAnOrdinaryUserInAGroupOfHisOwn(t *testing.T) {
	const path = "/skiff-test-delegated"
	if slices.Contains(os.Args, "delegated") {
		h := &cgroup.Hierarchies{V2: detect(t).V2}
		m := manager(t, h, path+"/web")
		must(t, m.Create(nil))
		must(t, m.Set(&specs.LinuxResources{
			HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 2 << 20}},
			Unified:        map[string]string{"cgroup.max.depth": "3"},
		}))
		shell := start(t, m, "grep ^0: /proc/self/cgroup")
		if got := shell.line(); got != "0::"+path+"/web" {
			t.Errorf("it ran in %q", got)
		}
		shell.cmd.Wait()
		must(t, m.Freeze())
		must(t, m.Delete())
		err := manager(t, h, path).Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1 << 40}}})
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("the user changed a limit of the delegated group: %v", err)
		}
		return
	}
	testkit.HostUnchanged(t)
	h := unified(t)
	if !strings.Contains(run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers"), "hugetlb") {
		t.Skip("needs the hugetlb controller in the v2 hierarchy")
	}
	m := create(t, h, strings.TrimPrefix(path, "/skiff-test-"))
	must(t, m.Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}))
	must(t, m.Delegate(nobody, nobody))
	owned := run(t, "cd "+m.Paths()[""]+"; ls -d . ./* | xargs stat -c '%u %n' | grep ^65534 | cut -d' ' -f2")
	for _, file := range strings.Fields(owned) {
		if !slices.Contains([]string{".", "./cgroup.procs", "./cgroup.subtree_control", "./cgroup.threads", "./memory.oom.group", "./memory.reclaim"}, file) {
			t.Errorf("%s was given away", file)
		}
	}
	if !strings.Contains(owned, "./cgroup.procs\n./cgroup.subtree_control\n./cgroup.threads") {
		t.Errorf("given away: %s", owned)
	}
	// The user is born in a group that is his too, apart from those of his
	// containers: no internal processes.
	session := create(t, h, "delegated/session")
	must(t, session.Delegate(nobody, nobody))
	group, err := session.Descriptor()
	must(t, err)
	defer group.Close()
	asNobody(t, group, "delegated")
}

func TestGroupsOfV1AreNotGivenAway(t *testing.T) {
	m := record(t, "legacy")
	if err := m.Delegate(nobody, nobody); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

// A v2 group with processes cannot hand controllers down, and the other way
// round: both errors say so.
func TestNoInternalProcesses(t *testing.T) {
	testkit.HostUnchanged(t)
	h := unified(t)
	if !strings.Contains(run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers"), "hugetlb") {
		t.Skip("needs the hugetlb controller in the v2 hierarchy")
	}
	limits := &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}
	above := create(t, h, "internal")
	must(t, above.Set(limits))
	shell := start(t, above, "echo in; read done")
	shell.line()
	web := create(t, h, "internal/web")
	err := web.Set(limits)
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "skiff-test-internal/cgroup.subtree_control") || !strings.Contains(hint.Of(err), "no internal processes") {
		t.Errorf("handing down from a group with processes: %v, hint %q", err, hint.Of(err))
	}
	must(t, above.Kill())
	shell.rest()
	shell.cmd.Wait()
	eventually(t, "it is empty", func() bool { pids, err := above.Processes(); return err == nil && len(pids) == 0 })
	must(t, web.Set(limits))
	err = above.Add(os.Getpid())
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(hint.Of(err), "no internal processes") {
		t.Errorf("entering a group that hands controllers down: %v, hint %q", err, hint.Of(err))
	}
}

// Beside a threaded group, another group is of no use before it is threaded as
// well: nobody can enter.
func TestBesideAThreadedGroup(t *testing.T) {
	testkit.HostUnchanged(t)
	h := unified(t)
	above, beside, m := create(t, h, "threads"), create(t, h, "threads/beside"), create(t, h, "threads/below")
	// A controller that knows whole processes only must not be handed down.
	run(t, "cd "+above.Paths()[""]+"; for c in $(cat cgroup.subtree_control); do echo -$c >cgroup.subtree_control; done")
	run(t, "echo threaded > "+beside.Paths()[""]+"/cgroup.type")
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	must(t, err)
	must(t, cat.Start())
	defer cat.Wait()
	defer in.Close()
	err = m.Add(cat.Process.Pid)
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(hint.Of(err), "threaded") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}
