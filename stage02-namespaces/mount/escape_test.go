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
	c := container(t, root, func(_ *plan.Plan, r *mount.Root) error { return r.Mask("/secret") })
	var s unix.Stat_t
	if err := unix.Stat(inside(c, "/secret"), &s); err != nil || s.Mode&unix.S_IFMT != unix.S_IFCHR || s.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("/secret has mode %#o, device %#x, error %v", s.Mode, s.Rdev, err)
	}
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

// CVE-2023-27561, CVE-2019-19921: the way to /proc leads through a link of the
// image, so that its name does not show it.
func TestNothingCoversProcThroughALinkOfTheImage(t *testing.T) {
	root, volume := t.TempDir(), t.TempDir()
	mkdir(t, root+"/proc")
	mkdir(t, root+"/volume")
	symlink(t, "/proc", root+"/absolute")
	symlink(t, "x/../absolute", root+"/relative")
	symlink(t, "../../../proc/self", root+"/deep")
	symlink(t, "/proc", volume+"/link") // a link in a volume, which the container sees in its own root
	for _, dest := range []string{"/absolute", "/relative", "/relative/self/attr", "/deep", "/deep/attr", "/volume/link/sys"} {
		r := mount.NewRoot(&plan.Plan{}, root)
		err := errors.Join(r.Mount(bind(volume, "/volume")), r.Mount(tmpfs(dest)))
		wantError(t, err, `in the root,: only a proc file system may be mounted on /proc`, "")
	}
	if err := mount.NewRoot(&plan.Plan{}, root).Mount(bind(root+"/volume", "/absolute/cpuinfo")); err != nil {
		t.Errorf("over a file that may be covered: %v", err)
	}
}

// The image's links lead to places in it, made if they are missing, or the
// mount is refused.
func TestEachKindOfLinkStaysInTheRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, root := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{
		"absolute": outside + "/a", "relative": "../../../../../../../.." + outside + "/b", "dangling": "/missing/c",
		"chain": "relative", "loop": "loop", "one": "two", "two": "/one", "file": "/etc-file",
	} {
		symlink(t, target, root+"/"+name)
	}
	write(t, root+"/etc-file", "")
	for dest, want := range map[string]string{
		"/absolute": outside + "/a", "/relative/below": outside + "/b/below", "/dangling": "/missing/c", "/chain": outside + "/b",
	} {
		seen := mountinfo(t, container(t, root, mounts(tmpfs(dest))).Pid)
		if len(seen) != 2 || seen[want] == "" {
			t.Errorf("%s: mounts %v, want one on %s", dest, seen, want)
		}
	}
	for dest, want := range map[string]error{"/loop": unix.ELOOP, "/one/x": unix.ELOOP, "/file": unix.EINVAL, "/file/x": unix.ENOTDIR} {
		if _, err := attempt(t, root, mounts(tmpfs(dest))); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", dest, err, want)
		}
	}
	if entries, err := os.ReadDir(outside); len(entries) > 0 || err != nil {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

// CVE-2026-41579: devices and links would be made wherever /dev leads.
func TestADevThatIsALinkIsRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	outside, root := t.TempDir(), t.TempDir()
	symlink(t, outside, root+"/dev")
	mkdir(t, root+outside)
	_, err := attempt(t, root, mounts(tmpfs("/dev")))
	wantError(t, err, `mount "/dev": too many levels of symbolic links`, "the root file system has a symbolic link there")
	for name, add := range map[string]func(r *mount.Root) error{
		"devices": func(r *mount.Root) error { return r.Devices(mount.DefaultDevices()) },
		"console": func(r *mount.Root) error { r.Console(plan.Descriptor{Number: 0}); return nil },
	} {
		_, err := attempt(t, root, func(_ *plan.Plan, r *mount.Root) error { return add(r) })
		if !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, dir := range []string{outside, root + outside} {
		if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
	}
}

// CVE-2025-52565: the terminal is mounted by its descriptor, on a place that is
// no link.
func TestTheConsoleIsTheTerminalWhateverTheImageHolds(t *testing.T) {
	testkit.HostUnchanged(t)
	devpts, slave := terminal(t)
	root := t.TempDir()
	mkdir(t, root+"/dev/pts")
	write(t, root+"/dev/pts/0", "a fake")
	console := func(_ *plan.Plan, r *mount.Root) error {
		r.Attach(plan.Descriptor{Number: int(devpts.Fd()), Name: "devpts"}, specs.Mount{Destination: "/terminals", Type: "devpts"})
		r.Console(plan.Descriptor{Number: int(slave.Fd()), Name: "slave"})
		return nil
	}
	c := container(t, root, console)
	var want, got unix.Stat_t
	if err := errors.Join(unix.Fstat(int(slave.Fd()), &want), unix.Stat(inside(c, "/dev/console"), &got)); err != nil || got.Rdev != want.Rdev {
		t.Errorf("the console is %#x, want %#x, %v", got.Rdev, want.Rdev, err)
	}
	if err := os.Remove(root + "/dev/console"); err != nil {
		t.Fatal(err)
	}
	symlink(t, "/secret", root+"/dev/console")
	write(t, root+"/secret", "")
	devpts, slave = terminal(t)
	if _, err := attempt(t, root, console); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a console that is a link: %v", err)
	}
}

// terminal makes a devpts file system that is attached nowhere, and opens the
// slave of a terminal in it: pty(7), TIOCGPTPEER in ioctl_tty(2).
func terminal(t *testing.T) (devpts, slave *os.File) {
	t.Helper()
	open := func(fd int, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "")
		t.Cleanup(func() { file.Close() })
		return file
	}
	fs := open(unix.Fsopen("devpts", unix.FSOPEN_CLOEXEC))
	if err := unix.FsconfigCreate(int(fs.Fd())); err != nil {
		t.Fatal(err)
	}
	devpts = open(unix.Fsmount(int(fs.Fd()), unix.FSMOUNT_CLOEXEC, 0))
	master := open(unix.Openat(int(devpts.Fd()), "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0))
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	return devpts, open(int(number), nil)
}

func TestANodeThatIsNotTheDeviceIsRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	for name, make := range map[string]func(path string) error{
		"a file":         func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"another device": func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))) },
		"a block device": func(path string) error { return unix.Mknod(path, unix.S_IFBLK|0o666, int(unix.Mkdev(1, 3))) },
		"a link":         func(path string) error { return os.Symlink("zero", path) },
		"a directory":    func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		root := t.TempDir()
		mkdir(t, root+"/dev")
		if err := make(root + "/dev/null"); err != nil {
			t.Fatal(err)
		}
		devices := func(_ *plan.Plan, r *mount.Root) error { return r.Devices(mount.DefaultDevices()) }
		_, err := attempt(t, root, devices)
		if !errors.Is(err, unix.EEXIST) {
			t.Errorf("%s: error %v", name, err)
		}
		wantError(t, err, `device "/dev/null": file exists`, "the root file system has something else there")
		_, err = attempt(t, root, func(p *plan.Plan, r *mount.Root) error {
			return errors.Join(r.Mount(tmpfs("/dev")), devices(p, r)) // which covers it
		})
		if err != nil {
			t.Errorf("%s, covered: %v", name, err)
		}
	}
	root := t.TempDir()
	mkdir(t, root+"/dev")
	if err := unix.Mknod(root+"/dev/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	container(t, root, func(_ *plan.Plan, r *mount.Root) error { return r.Devices(mount.DefaultDevices()) })
}
