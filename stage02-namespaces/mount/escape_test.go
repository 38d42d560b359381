package mount_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

// An image can hold any file. None of them may make a mount, a folder or a
// device appear outside the root.

func TestAnAbsoluteLinkLeadsToAPlaceInTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, root := t.TempDir(), t.TempDir()
	symlink(t, outside, root+"/absolute")
	symlink(t, "../../../../../../../.."+outside, root+"/relative")
	mkdir(t, root+outside)
	c := container(t, root, mounts(tmpfs("/absolute"), tmpfs("/relative/below")))
	seen := mountinfo(t, c.Pid)
	for _, point := range []string{outside, outside + "/below"} {
		if seen[point] == "" {
			t.Errorf("nothing is mounted on %s in the root: %v", point, seen)
		}
	}
	if entries, err := os.ReadDir(outside); len(entries) > 0 || err != nil {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestALinkIsNotTakenForProcOrSys(t *testing.T) {
	testkit.HostUnchanged(t)
	for _, fstype := range []string{"proc", "sysfs"} {
		root := t.TempDir()
		mkdir(t, root+"/elsewhere")
		symlink(t, "/elsewhere", root+"/"+fstype)
		_, err := attempt(t, root, mounts(specs.Mount{Destination: "/" + fstype, Type: fstype, Source: fstype}))
		if !errors.Is(err, unix.ELOOP) || !strings.Contains(hint.Of(err), "symbolic link") {
			t.Errorf("%s: error %v, hint %q", fstype, err, hint.Of(err))
		}
	}
}

func TestALinkIsNotTakenForDev(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	mkdir(t, root+"/elsewhere")
	symlink(t, "/elsewhere", root+"/dev")
	_, err := attempt(t, root, func(_ *plan.Plan, r *mount.Root) error { return r.Devices(mount.DefaultDevices()) })
	if !errors.Is(err, unix.ELOOP) {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(root + "/elsewhere"); len(entries) > 0 {
		t.Errorf("made %v", entries)
	}
}

func TestTheRootsOwnNullMasksNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	mkdir(t, root+"/dev")
	write(t, root+"/dev/null", "a fake")
	write(t, root+"/secret", "key")
	c := container(t, root, func(_ *plan.Plan, r *mount.Root) error { r.Mask("/secret"); return nil })
	var s unix.Stat_t
	if err := unix.Stat(inside(c, "/secret"), &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFCHR || s.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("/secret has mode %#o, device %#x, error %v", s.Mode, s.Rdev, err)
	}
}

// CVE-2021-30465: another container that shares a volume swaps the mount
// point for a symbolic link, at the very moment at which it is used.
func TestASwappedMountPointNeverLeadsOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, root := t.TempDir(), t.TempDir()
	mkdir(t, root+"/volume/point")
	mkdir(t, root+outside) // where the link leads to when it is resolved in the root
	symlink(t, outside, root+"/volume/link")
	stop := swap(t, root+"/volume/point", root+"/volume/link")
	const rounds = 300
	places := map[string]int{}
	for range rounds {
		place := mountOnce(t, root, outside)
		places[place]++
	}
	stop()
	t.Logf("where the mount went: %v", places)
	if places["point"] == 0 || places["link"] == 0 {
		t.Errorf("in %d rounds the swap was never met: %v", rounds, places)
	}
}

// swap exchanges two paths again and again until the function that it
// returns is called.
func swap(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
				<-end
				ended <- err
				return
			}
		}
	}()
	return func() {
		close(end)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// mountOnce mounts a tmpfs on /volume/point of the root and tells where it
// came to be: "point", or where "link" leads to in the root, or "nowhere"
// because the kernel noticed the swap. Any other place ends the test.
func mountOnce(t *testing.T, root, outside string) string {
	t.Helper()
	place := ""
	t.Run("", func(t *testing.T) {
		c, err := attempt(t, root, mounts(tmpfs("/volume/point")))
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOENT) {
			place = "nowhere"
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for point := range mountinfo(t, c.Pid) {
			switch point {
			case "/":
			case "/volume/point", "/volume/link": // the directory, under the name that it has now
				place = "point"
			case outside:
				place = "link"
			default:
				t.Errorf("a mount on %s", point)
			}
		}
	})
	if place == "" {
		t.Fatal("the mount is not in the container's root")
	}
	return place
}

func TestNothingCoversProc(t *testing.T) {
	host := t.TempDir()
	write(t, host+"/file", "")
	refused := []specs.Mount{
		tmpfs("/proc"), tmpfs("/proc/"), tmpfs("/x/../proc"), tmpfs("/proc/self/attr"),
		bind(host, "/proc"), bind(host, "/proc/sys"), bind(host+"/file", "/proc/cpuinfo2"),
		{Destination: "/proc/x", Type: "proc"},
	}
	fine := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "//proc/", Type: "proc"},
		bind(host+"/file", "/proc/cpuinfo"), bind(host+"/file", "/proc/meminfo"), tmpfs("/process"), tmpfs("/x/proc"),
	}
	for _, m := range refused {
		if err := mount.NewRoot(&plan.Plan{}, "/").Mount(m); err == nil || !strings.Contains(err.Error(), "only a proc file system") {
			t.Errorf("%s on %s: error %v", m.Type, m.Destination, err)
		}
	}
	for _, m := range fine {
		if err := mount.NewRoot(&plan.Plan{}, "/").Mount(m); err != nil {
			t.Errorf("%s on %s: %v", m.Type, m.Destination, err)
		}
	}
}
