package mount_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

// A container with a user namespace of its own: what it may not do is done in
// another way, or the error says what to do instead.

func TestDevicesAreTheHostsInAUserNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	c, err := own.attempt(t, ownRoot(t), func(p *plan.Plan, r *mount.Root) error {
		if err := r.Mount(tmpfs("/dev", "mode=755")); err != nil {
			return err
		}
		return r.Devices(append(mount.DefaultDevices(), specs.LinuxDevice{Path: "/dev/fifo", Type: "p"}))
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "tty": unix.Mkdev(5, 0), "fifo": 0} {
		var s unix.Stat_t
		if err := unix.Stat(inside(c, "/dev/"+name), &s); err != nil || s.Rdev != want {
			t.Errorf("%s is device %#x, %v", name, s.Rdev, err)
		}
	}
	if _, ok := mountinfo(t, c.Pid)["/dev/null"]; !ok {
		t.Error("/dev/null is no mount")
	}
}

func TestADeviceThatTheHostDoesNotHaveIsAnErrorInAUserNamespace(t *testing.T) {
	testkit.HostUnchanged(t)
	device := func(path string, major, minor int64) error {
		_, err := own.attempt(t, ownRoot(t), func(p *plan.Plan, r *mount.Root) error {
			return r.Devices([]specs.LinuxDevice{{Path: path, Type: "c", Major: major, Minor: minor}})
		})
		return err
	}
	wantError(t, device("/dev/missing", 1, 3), `device "/dev/missing" of the host: no such file`, "")
	wantError(t, device("/dev/null", 1, 5), `device "/dev/null" of the host is not c 1:5`, "only shown where the host has the same one")
}

func TestErrorsInAUserNamespaceSayWhatToDoInstead(t *testing.T) {
	testkit.HostUnchanged(t)
	sameNetwork := world{kinds: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, ids: own.ids}
	for _, c := range []struct {
		in            world
		mount         specs.Mount
		words, advice string
	}{
		{sameNetwork, specs.Mount{Destination: "/sys", Type: "sysfs"}, `mount "sysfs" on "/sys": operation not permitted`, "bind mount /sys instead"},
		{own, specs.Mount{Destination: "/pts", Type: "devpts", Options: []string{"gid=70000"}}, `option "gid=70000": invalid argument`, "gid=5 of devpts"},
		{own, tmpfs("/t", "uid=100000"), `option "uid=100000": invalid argument`, "mapped in the container's user namespace"},
	} {
		_, err := c.in.attempt(t, ownRoot(t), mounts(c.mount))
		wantError(t, err, c.words, c.advice)
	}
	for _, m := range []specs.Mount{
		{Destination: "/sys", Type: "sysfs"},
		{Destination: "/proc", Type: "proc"},
		{Destination: "/pts", Type: "devpts", Options: []string{"newinstance", "gid=5"}},
		tmpfs("/t", "uid=5"),
	} {
		if _, err := own.attempt(t, ownRoot(t), mounts(m)); err != nil {
			t.Errorf("%s in all namespaces of its own: %v", m.Type, err)
		}
	}
}

func TestAProcThatIsNotFullyVisibleIsExplained(t *testing.T) {
	testkit.HostUnchanged(t)
	privately(t, func() {
		mountTmpfs(t, "/proc/sys", "") // as in a container, where parts of /proc are masked
		_, err := own.attempt(t, ownRoot(t), mounts(specs.Mount{Destination: "/proc", Type: "proc"}))
		wantError(t, err, `mount "proc" on "/proc": operation not permitted`, "sees all of an old one")
	})
}
