package namespace_test

import (
	"errors"
	"fmt"
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

// offsets sets the boot clock ten days, and the monotonic clock a thousand
// seconds ahead.
var offsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 864000}, "monotonic": {Secs: 1000, Nanosecs: 1}}

// clocks are the two clocks, as the program of that name prints them, and the
// boot clock as the kernel prints it, in seconds.
type clocks struct{ monotonic, boottime, uptime float64 }

// parse reads the output of "clocks" or of /proc/uptime.
func (c *clocks) parse(t *testing.T, text string) {
	t.Helper()
	if n, _ := fmt.Sscanf(text, "monotonic %f\nboottime %f\n", &c.monotonic, &c.boottime); n == 2 {
		return
	}
	if _, err := fmt.Sscan(text, &c.uptime); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// ourClocks reads the clocks of the host.
func ourClocks(t *testing.T) (c clocks) {
	t.Helper()
	for _, argv := range clockReaders(t) {
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		c.parse(t, string(out))
	}
	return c
}

// clockReaders are our program that reads the clocks, and somebody else's.
func clockReaders(t *testing.T) [][]string {
	t.Helper()
	testkit.Need(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	return [][]string{{testkit.Build(t, "./testdata/clocks")}, {busybox, "cat", "/proc/uptime"}}
}

// ahead makes sure that the clocks in the namespaces of a set are ahead by
// offsets, give or take a few seconds for the time that the test takes.
func ahead(t *testing.T, set func() *namespace.Set) {
	t.Helper()
	before, inside := ourClocks(t), clocks{}
	for _, argv := range clockReaders(t) {
		s := set()
		inside.parse(t, output(t, launch.Options{Namespaces: s.Born()}, s.Steps, nothing, argv...))
	}
	about := func(name string, got, want float64) {
		if got < want-2 || got > want+60 {
			t.Errorf("%s: %v, want about %v", name, got, want)
		}
	}
	about("monotonic", inside.monotonic, before.monotonic+1000)
	about("boottime", inside.boottime, before.boottime+864000)
	about("/proc/uptime", inside.uptime, before.uptime+864000)
}

// withOffsets is a set whose clocks are ahead.
func withOffsets(t *testing.T, kinds ...specs.LinuxNamespaceType) *namespace.Set {
	t.Helper()
	set := newSet(t, namespaces(kinds...))
	if err := set.SetTimeOffsets(offsets); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestTheClocksOfANewTimeNamespaceAreSet(t *testing.T) {
	testkit.HostUnchanged(t)
	ahead(t, func() *namespace.Set { return withOffsets(t, "time") })
	ahead(t, func() *namespace.Set { return withOffsets(t, "time", "pid", "uts") })
	ahead(t, func() *namespace.Set { return withOffsets(t, "time", "user", "pid") })
}

// The caller of setns(2) itself is in the time namespace, without a clone.
func TestTheClocksOfAJoinedTimeNamespaceAreThoseThatWereSet(t *testing.T) {
	testkit.HostUnchanged(t)
	other := hold(t, withOffsets(t, "time", "user"))
	path := fmt.Sprintf("/proc/%d/ns/time", other.Pid)
	ahead(t, func() *namespace.Set {
		return newSet(t, []specs.LinuxNamespace{{Type: specs.TimeNamespace, Path: path}})
	})
	ahead(t, func() *namespace.Set {
		set := newSet(t, nil)
		join(t, set, other.Pidfd(), unix.CLONE_NEWTIME)
		p := &plan.Plan{}
		if set.Steps(p); p.Splits() {
			t.Error("there is a clone")
		}
		return set
	})
}

// In a mount namespace without /proc the offsets are written all the same.
func TestOffsetsBesideAJoinedMountNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.MountNamespace)
	if out, err := exec.Command("nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", other.Pid), "sh", "-c",
		"mount --make-rprivate / && mount -t tmpfs none /proc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	set := newSet(t, append(namespaces("time", "user"),
		specs.LinuxNamespace{Type: specs.MountNamespace, Path: fmt.Sprintf("/proc/%d/ns/mnt", other.Pid)}))
	if err := set.SetTimeOffsets(offsets); err != nil {
		t.Fatal(err)
	}
	inside(t, set, func(pid int) {
		out, err := exec.Command("cat", fmt.Sprintf("/proc/%d/timens_offsets", pid)).Output()
		if err != nil || strings.Join(strings.Fields(string(out)), " ") != "monotonic 1000 1 boottime 864000 0" {
			t.Errorf("error %v, offsets %s", err, out)
		}
	})
}

func TestOffsetsThatCannotBeAreRefused(t *testing.T) {
	var text strings.Builder
	for _, c := range []struct {
		kind  specs.LinuxNamespaceType
		clock string
		o     specs.LinuxTimeOffset
	}{
		{"uts", "boottime", specs.LinuxTimeOffset{Secs: 1}},
		{"time", "realtime", specs.LinuxTimeOffset{Secs: 1}},
		{"time", "boottime", specs.LinuxTimeOffset{Secs: -1 << 63}},
		{"time", "boottime", specs.LinuxTimeOffset{Secs: 9223372037}},
		{"time", "monotonic", specs.LinuxTimeOffset{Nanosecs: 1e9}},
	} {
		err := newSet(t, namespaces(c.kind)).SetTimeOffsets(map[string]specs.LinuxTimeOffset{c.clock: c.o})
		hint.Print(&text, "test", err)
	}
	testkit.Golden(t, text.String(), "offsets-refused.golden")
}

func TestAClockCannotBeSetBeforeZero(t *testing.T) {
	testkit.HostUnchanged(t)
	set := newSet(t, namespaces("time"))
	if err := set.SetTimeOffsets(map[string]specs.LinuxTimeOffset{"boottime": {Secs: -1e9}}); err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{}
	set.Steps(p)
	p.Add(plan.Exit(0))
	_, err := launch.Start(p, launch.Options{Namespaces: set.Born()})
	if !errors.Is(err, unix.ERANGE) {
		t.Fatal(err)
	}
	var text strings.Builder
	hint.Print(&text, "test", err)
	testkit.Golden(t, text.String(), "before-zero.golden")
}
