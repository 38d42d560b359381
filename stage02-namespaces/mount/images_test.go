package mount_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/mount"
)

// Attacks by what an image or a configuration holds, beside those of
// escape_test.go.

// CVE-2024-21626, CVE-2025-31133 and others: a link of the proc file system leads
// where no path does.
func TestALinkOfProcIsNotFollowed(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	for name, target := range map[string]string{"x": "/p/self/root", "y": "/p/self/cwd/y", "z": "p/thread-self/fd/0"} {
		symlink(t, target, root+"/"+name)
		_, err := attempt(t, root, mounts(specs.Mount{Destination: "/p", Type: "proc"}, tmpfs("/"+name)))
		if !errors.Is(err, unix.ELOOP) {
			t.Errorf("/%s: error %v", name, err)
		}
	}
}

// A chain of links, each of which makes the way longer by what a path can hold,
// must not fill the memory; nor a destination of many folders.
func TestNoWayIsLongerThanAPathCanBe(t *testing.T) {
	root := t.TempDir()
	for i := range 39 {
		name := string(rune('A' + i))
		symlink(t, string(rune('A'+i+1))+strings.Repeat("/x", 2000), root+"/"+name)
	}
	long := strings.Repeat("/a", 30_000)
	for _, dest := range []string{"/A", "/A/x", long} {
		begin := time.Now()
		err := mount.NewRoot(&plan.Plan{}, root).Mount(tmpfs(dest))
		if !errors.Is(err, unix.ENAMETOOLONG) || len(err.Error()) > 500 || time.Since(begin) > time.Second {
			t.Errorf("%.20s…: after %v: %.200v", dest, time.Since(begin), err)
		}
	}
	p := &plan.Plan{}
	r := mount.NewRoot(p, root)
	r.Attach(plan.Descriptor{Number: 0}, specs.Mount{Destination: long})
	if n := len(p.Steps()); n > 20 {
		t.Errorf("%d steps for a place that cannot be", n)
	}
}

// hidden is a world in which something is mounted on the root first, so that the
// parent cannot see what the child will: the layers of an image.
func hidden(root string) world {
	return world{first: []plan.Step{plan.Mount(root, root, "", unix.MS_BIND, "")}}
}

// kernels are the mounts that all containers have.
var kernels = []specs.Mount{
	{Destination: "/proc", Type: "proc"}, {Destination: "/sys", Type: "sysfs"}, tmpfs("/dev"), tmpfs("/run"),
}

// CVE-2019-16884, CVE-2019-19921, CVE-2026-41579: a volume goes where the image's
// link leads. The parent does not see the link; it may lead nowhere else than to a
// place of the image.
func TestALinkOfALayerLeadsIntoNoOtherMount(t *testing.T) {
	testkit.HostUnchanged(t)
	root, volume := t.TempDir(), t.TempDir()
	mkdir(t, root+"/plain/new")
	for name, target := range map[string]string{
		"proc-link": "/proc", "sys-link": "sys", "dev-link": "/dev", "settings": "/proc/sys", "label": "../../proc/self/attr",
		"chain": "dev-link", "shared": "/run/x", "inside": "/plain/new",
	} {
		symlink(t, target, root+"/"+name)
	}
	for _, name := range []string{"proc-link", "sys-link", "dev-link", "settings", "label", "chain", "shared", "chain/below"} {
		_, err := hidden(root).attempt(t, root, mounts(append(kernels, bind(volume, "/"+name))...))
		if !errors.Is(err, unix.EXDEV) {
			t.Errorf("/%s: error %v", name, err)
		}
		wantError(t, err, "", "which leads into another mount")
	}
	for dest, place := range map[string]string{"/inside": "/plain/new", "/plain": "/plain", "/run/lock": "/run/lock", "/new/deep": "/new/deep"} {
		c, err := hidden(root).attempt(t, root, mounts(append(kernels, bind(volume, dest))...))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, ok := mountinfo(t, c.Pid)[place]; !ok {
			t.Errorf("%s is not mounted on %s", dest, place)
		}
	}
}

// A folder of the host on /dev keeps what it has, whatever name /dev is given.
func TestNoDevicesAreMadeInAFolderOfTheHost(t *testing.T) {
	testkit.HostUnchanged(t)
	root, folder := t.TempDir(), t.TempDir()
	symlink(t, "/dev", root+"/data")
	mkdir(t, root+"/dev")
	devices := func(_ *plan.Plan, r *mount.Root) error { return r.Devices(mount.DefaultDevices()) }
	with := func(all ...specs.Mount) func(p *plan.Plan, r *mount.Root) error {
		return func(p *plan.Plan, r *mount.Root) error { return errors.Join(mounts(all...)(p, r), devices(p, r)) }
	}
	empty := func(after string) {
		t.Helper()
		if entries, err := os.ReadDir(folder); len(entries) > 0 || err != nil {
			t.Fatalf("%s: the host's folder holds %v, %v", after, entries, err)
		}
	}
	for _, dest := range []string{"/dev", "/dev/", "dev", "//dev", "/./dev", "/x/../dev"} {
		container(t, root, with(bind(folder, dest)))
		empty(dest)
	}
	_, err := attempt(t, root, with(bind(folder, "/data")))
	wantError(t, err, `mount "/data", which is "/dev" in the root`, "")
	empty("a link")
	_, err = hidden(root).attempt(t, root, with(bind(folder, "/data"))) // where no parent sees the link
	if !errors.Is(err, unix.EXDEV) {
		t.Errorf("a link that is not seen: %v", err)
	}
	empty("a link that is not seen")
	c := container(t, root, with(bind(folder, "/dev"), tmpfs("/dev"))) // the last one is what is seen
	if _, err := os.Lstat(inside(c, "/dev/null")); err != nil {
		t.Error(err)
	}
	empty("a tmpfs above")
}

// A device of which only the kernel knows what it is does not pass for the one that
// is wanted.
func TestANodeThatNobodyHasSeenIsNotTakenForADevice(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	mkdir(t, root+"/dev")
	write(t, root+"/dev/null", "a fake")
	devices := func(_ *plan.Plan, r *mount.Root) error { return r.Devices(mount.DefaultDevices()) }
	_, err := hidden(root).attempt(t, root, devices)
	wantError(t, err, `make device "/dev/null": file exists`, "mount a tmpfs on the folder")
	twice := func(_ *plan.Plan, r *mount.Root) error {
		return errors.Join(r.Mount(tmpfs("/dev")), r.Devices(append(mount.DefaultDevices(), mount.DefaultDevices()...)))
	}
	if _, err := hidden(root).attempt(t, root, twice); err != nil {
		t.Errorf("a device that is named twice: %v", err)
	}
}

// CVE-2019-19921: the word proc does not make a folder a proc file system.
func TestABindMountOnProcShowsAllOfAProc(t *testing.T) {
	fake := t.TempDir()
	proc := func(source string, options ...string) error {
		m := specs.Mount{Destination: "/proc", Type: "proc", Source: source, Options: options}
		return mount.NewRoot(&plan.Plan{}, t.TempDir()).Mount(m)
	}
	for _, source := range []string{fake, "/proc/self", "/sys"} {
		for _, word := range []string{"bind", "rbind"} {
			wantError(t, proc(source, word), "only a proc file system may be mounted on /proc", "")
		}
	}
	if err := errors.Join(proc("/proc", "bind"), proc("/proc", "rbind"), proc("proc")); err != nil {
		t.Error(err)
	}
}

// CVE-2025-31133: what hides a file is /dev/null, or there is no container.
func TestAHostWithoutANullDeviceMasksNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	fake := t.TempDir() + "/null"
	write(t, fake, "a fake")
	privately(t, func() {
		if err := unix.Mount(fake, "/dev/null", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		err := mount.NewRoot(&plan.Plan{}, "/").Mask("/secret")
		wantError(t, err, `mask "/secret": the host's /dev/null is not the character device 1:3`, "mknod")
		if err := unix.Mount("/dev/zero", "/dev/null", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		wantError(t, mount.NewRoot(&plan.Plan{}, "/").Mask("/secret"), "device 1:5", "mknod")
	})
}

func TestInAChrootTheHintSaysSo(t *testing.T) {
	testkit.HostUnchanged(t)
	p := &plan.Plan{}
	p.Add(plan.Chroot(t.TempDir()))
	mount.Detach(p, unix.MS_PRIVATE)
	process, err := launch.Start(p, launch.Options{Namespaces: unix.CLONE_NEWNS})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, process.Started(), "invalid argument", `as in a chroot`)
	if err := errors.Join(process.Kill(), process.Close()); err != nil {
		t.Error(err)
	}
}
