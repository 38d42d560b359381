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

// mapping is one line of a map.
func mapping(inside, outside, size uint32) specs.LinuxIDMapping {
	return specs.LinuxIDMapping{ContainerID: inside, HostID: outside, Size: size}
}

// manyRanges is a map of n lines.
func manyRanges(n int, first uint32) (all []specs.LinuxIDMapping) {
	for i := range n {
		all = append(all, mapping(uint32(i), first+uint32(i), 1))
	}
	return all
}

// Nothing is written for these: the kernel would say "invalid argument" to
// all of them.
func TestMapsThatTheKernelWouldRefuseAreExplained(t *testing.T) {
	var text strings.Builder
	for _, bad := range [][]specs.LinuxIDMapping{
		nil,
		{mapping(0, 100000, 0)},
		{mapping(0, 1<<32-1, 1)},
		{mapping(1<<32-1, 0, 1)},
		{mapping(1, 100000, 1<<32-1)},
		{mapping(0, 100000, 10), mapping(9, 200000, 1)},
		{mapping(0, 100000, 10), mapping(20, 5, 1), mapping(30, 99999, 2)},
		manyRanges(341, 1000),
	} {
		hint.Print(&text, "test", namespace.Maps{UIDs: bad, GIDs: ids}.Write(os.Getpid()))
		if err := (namespace.Maps{UIDs: ids, GIDs: bad}).Write(os.Getpid()); err == nil {
			t.Errorf("no error of the groups %v", bad)
		}
	}
	testkit.Golden(t, text.String(), "maps-refused.golden")
	// A map must also be smaller than a page, which is larger on some machines.
	long := namespace.Maps{UIDs: manyRanges(340, 4000000000), GIDs: ids}
	if err := long.Write(os.Getpid()); os.Getpagesize() == 4096 && !strings.Contains(fmt.Sprint(err), "5670 bytes in 340 ranges") {
		t.Error(err)
	}
}

// What is not refused above the kernel does take.
func TestTheGreatestMapsAreTaken(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, great := range [][]specs.LinuxIDMapping{
		manyRanges(340, 1000),
		{mapping(0, 0, 1<<32-1)},
		{mapping(1<<32-2, 1<<32-2, 1)},
	} {
		user, err := namespace.NewUser(great, great)
		if err != nil {
			t.Error(err)
			continue
		}
		user.Close()
	}
}

func TestMapsThatTheKernelRefusesAreAnErrorWithAHint(t *testing.T) {
	testkit.HostUnchanged(t)
	var text strings.Builder
	for _, kind := range []specs.LinuxNamespaceType{specs.PIDNamespace, specs.UserNamespace} { // no new one; maps written before
		other := holder(t, kind)
		err := namespace.Maps{UIDs: ids, GIDs: ids}.Write(other.Pid)
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", kind, err)
		}
		hint.Print(&text, "test", err)
	}
	testkit.Golden(t, text.String(), "maps-denied.golden")
}

// The same maps, as a shell in the namespace and one outside see them.
func TestMapsAreSeenFromInsideAndFromOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "busybox")
	uids := []specs.LinuxIDMapping{mapping(0, 100000, 10), mapping(1000, 5, 1)}
	gids := []specs.LinuxIDMapping{mapping(0, 200000, 20)}
	set, gate := newSet(t, namespaces(specs.UserNamespace)), newGate(t)
	outside := ""
	inside := output(t, launch.Options{Namespaces: set.Born()}, func(p *plan.Plan) {
		set.Steps(p)
		p.Add(gate.Steps()...)
		p.Add(plan.Setgroups(3), plan.Setresgid(7), plan.Setresuid(1000))
	}, func(process *launch.Process) {
		if err := (namespace.Maps{UIDs: uids, GIDs: gids}).Write(process.Pid); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("/bin/sh", "-c", `cat /proc/$0/uid_map /proc/$0/gid_map`, fmt.Sprint(process.Pid)).Output()
		if err != nil {
			t.Fatal(err)
		}
		outside = string(out)
		if err := gate.Open(); err != nil {
			t.Fatal(err)
		}
	}, busybox(t, "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; id -G")...)
	const maps = "0 100000 10 1000 5 1 0 200000 20"
	if got := strings.Join(strings.Fields(outside), " "); got != maps {
		t.Errorf("outside: %s", got)
	}
	if got := strings.Join(strings.Fields(inside), " "); got != maps+" 1000 7 7 3" {
		t.Errorf("inside: %s", got)
	}
}

// The namespace that NewUser returns has maps, no process (the host has none
// more than before), and others can enter it.
func TestAUserNamespaceWithoutAProcess(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "nsenter")
	user, err := namespace.NewUser(ids, []specs.LinuxIDMapping{mapping(0, 5, 7)})
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	out, err := exec.Command("nsenter", fmt.Sprintf("--user=/proc/%d/fd/%d", os.Getpid(), user.Fd()),
		"cat", "/proc/self/uid_map", "/proc/self/gid_map").CombinedOutput()
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != "0 100000 65536 0 5 7" {
		t.Errorf("error %v, maps %s", err, got)
	}
	if user, err := namespace.NewUser(ids, nil); err == nil {
		t.Errorf("%v has no group map", user)
	}
}

// Root of the host is mapped to what is lent to root, or else to everything;
// root of a user namespace to what there is, whatever a file says.
func TestTheMapsOfRoot(t *testing.T) {
	const direct, nested = `exec "$1" "$2" sh -c "$3"`, `exec unshare -Ur "$1" "$2" sh -c "$3"`
	const lent, none = "student:100000:1\nroot:700000:10\n", "student:100000:1\n"
	for _, c := range []struct{ lent, script, want string }{
		{lent, direct, "0 700000 10 0 700000 10 allow"},
		{none, direct, "0 0 4294967295 0 0 4294967295 allow"},
		{lent, nested, "0 0 1 0 0 1 deny"},
	} {
		u := newOrdinary(t, c.lent)
		show := busybox(t, "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups")
		out, err := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc; `+c.script, u.etc,
			testkit.Build(t, "./testdata/newuser"), show[0], show[3]).CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != c.want {
			t.Errorf("error %v\ngot  %s\nwant %s", err, got, c.want)
		}
	}
}

func TestWhetherSetgroupsIsDeniedIsKnown(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.UserNamespace)
	if denied, err := namespace.SetgroupsDenied(other.Pid); err != nil || denied {
		t.Errorf("%v, error %v", denied, err)
	}
	if err := exec.Command("/bin/sh", "-c", `echo deny > /proc/$0/setgroups`, fmt.Sprint(other.Pid)).Run(); err == nil {
		t.Error("the kernel lets setgroups be denied after gid_map was written")
	}
	one := []specs.LinuxIDMapping{mapping(0, 0, 1)}
	if denied, err := (namespace.Maps{UIDs: one, GIDs: one}).DeniesSetgroups(); err != nil || denied {
		t.Errorf("root has to give up setgroups: %v, error %v", denied, err)
	}
	if _, err := namespace.SetgroupsDenied(1<<22 + 1); err == nil {
		t.Error("no error for a process that cannot be")
	}
}
