package mount_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

func TestTheRootHasThePropagationThatIsAskedFor(t *testing.T) {
	testkit.HostUnchanged(t)
	for word, want := range map[string]string{
		"": "", "private": "", "rprivate": "", "slave": "", "rslave": "",
		"shared": " shared:", "unbindable": " unbindable",
	} {
		c := container(t, t.TempDir(), propagating(word, tmpfs("/below")))
		seen := mountinfo(t, c.Pid)
		if got := digits.Replace(strings.TrimPrefix(seen["/"], "rw,relatime")); got != want {
			t.Errorf("%q: the root is %q, want %q", word, seen["/"], want)
		}
		if seen["/below"] != "rw,relatime" {
			t.Errorf("%q: below it is %q", word, seen["/below"])
		}
	}
	for word, want := range map[string]string{"rshared": " shared:", "runbindable": " unbindable"} {
		seen := mountinfo(t, container(t, t.TempDir(), propagating(word, tmpfs("/below"))).Pid)
		for point, entry := range seen {
			if got := digits.Replace(strings.TrimPrefix(entry, "rw,relatime")); got != want {
				t.Errorf("%q: %s is %q, want %q", word, point, entry, want)
			}
		}
	}
	err := mount.NewRoot(&plan.Plan{}, "/").Propagation("sideways")
	wantError(t, err, `propagation "sideways": want private, slave, shared or unbindable`, "")
	if _, err := mount.DetachFor("sideways"); err == nil {
		t.Error("DetachFor takes any word")
	}
}

// propagating is mounts with Root.Propagation.
func propagating(word string, all ...specs.Mount) func(p *plan.Plan, r *mount.Root) error {
	return func(p *plan.Plan, r *mount.Root) error {
		return errors.Join(r.Propagation(word), mounts(all...)(p, r))
	}
}

// A shared volume: what one side mounts in it, the other sees; but only with a
// root that is shared as well.
func TestMountsTravelThroughASharedVolume(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, c := range []struct {
		root, option    string
		toHost, toGuest bool
	}{
		{"shared", "shared", true, true},
		{"rshared", "rshared", true, true},
		{"slave", "shared", false, true},
		{"", "slave", false, true},
		{"", "private", false, false},
	} {
		volume := t.TempDir()
		privately(t, func() {
			mountTmpfs(t, volume, "shared")
			mkdir(t, volume+"/by-host")
			mkdir(t, volume+"/by-guest")
			guest := container(t, t.TempDir(), propagating(c.root, bind(volume, "/volume", "rbind", c.option)))
			mountTmpfs(t, volume+"/by-host", "")
			if _, seen := mountinfo(t, guest.Pid)["/volume/by-host"]; seen != c.toGuest {
				t.Errorf("root %q, volume %q: seen by the container: %v, want %v", c.root, c.option, seen, c.toGuest)
			}
			mountInside(t, guest.Pid, "/volume/by-guest")
			text, err := os.ReadFile("/proc/thread-self/mountinfo")
			if seen := strings.Contains(string(text), volume+"/by-guest "); seen != c.toHost || err != nil {
				t.Errorf("root %q, volume %q: seen by the host: %v, want %v (%v)", c.root, c.option, seen, c.toHost, err)
			}
		})
	}
}

// mountInside mounts a tmpfs in the container, as a program in there would.
func mountInside(t *testing.T, pid int, on string) {
	t.Helper()
	p := &plan.Plan{}
	ns := p.Register("ns")
	p.Add(
		plan.Openat2(plan.CWD, procFile(pid, "ns/mnt"), unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC}).Into(ns),
		plan.Setns(ns, unix.CLONE_NEWNS), plan.Mount("tmpfs", on, "tmpfs", 0, ""), plan.Exit(0),
	)
	runInChild(t, p)
}
