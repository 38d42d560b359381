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

// The kernel's own list of mounts shows what the configuration asked for.
func TestAMountIsWhatItsOptionsSay(t *testing.T) {
	testkit.HostUnchanged(t)
	host := t.TempDir()
	c := container(t, t.TempDir(), mounts(
		tmpfs("/plain"),
		tmpfs("/ro", "ro"),
		tmpfs("/all", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"),
		tmpfs("/last-word-counts", "ro", "rw", "nosuid", "suid", "noatime", "strictatime"),
		bind(host, "/bind"),
		bind(host, "/bind-ro", "ro", "nosuid"),
		bind(host, "/shared", "shared"),
		bind(host, "/slave", "rslave"),
		bind(host, "/unbindable", "unbindable"),
		tmpfs("/again"), specs.Mount{Destination: "/again", Options: []string{"remount", "ro", "noexec"}},
	))
	seen := mountinfo(t, c.Pid)
	for point, want := range map[string]string{
		"/plain":            "rw,relatime",
		"/ro":               "ro,relatime",
		"/all":              "rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow",
		"/last-word-counts": "rw",
		"/bind":             "rw,relatime",
		"/bind-ro":          "ro,nosuid,relatime",
		"/unbindable":       "rw,relatime unbindable",
		"/again":            "ro,noexec,relatime",
	} {
		if got := seen[point]; got != want {
			t.Errorf("%s is %q, want %q", point, got, want)
		}
	}
	if !strings.Contains(seen["/shared"], " shared:") || strings.Contains(seen["/slave"], "shared:") {
		t.Errorf("propagation: shared %q, slave %q", seen["/shared"], seen["/slave"])
	}
}

func TestRecursiveOptionsReachTheMountsBelow(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t, t.TempDir(), func(p *plan.Plan, r *mount.Root) error {
		if err := mounts(tmpfs("/a"), tmpfs("/a/b"))(p, r); err != nil {
			return err
		}
		// What is mounted already, changed as a whole and then at its top.
		return mounts(
			specs.Mount{Destination: "/a", Options: []string{"remount", "rro", "rnosuid", "rnoatime"}},
			specs.Mount{Destination: "/a", Options: []string{"remount", "rw"}},
		)(p, r)
	})
	seen := mountinfo(t, c.Pid)
	if seen["/a"] != "rw,nosuid,noatime" || seen["/a/b"] != "ro,nosuid,noatime" {
		t.Errorf("/a is %q, /a/b is %q", seen["/a"], seen["/a/b"])
	}
}

func TestAMountPointIsMade(t *testing.T) {
	testkit.HostUnchanged(t)
	host, root := t.TempDir(), t.TempDir()
	write(t, host+"/file", "the host's")
	c := container(t, root, mounts(tmpfs("/new/dir"), bind(host+"/file", "/new/folder/file", "ro")))
	text, err := os.ReadFile(inside(c, "/new/folder/file"))
	if string(text) != "the host's" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	for path, want := range map[string]os.FileMode{"/new/dir": os.ModeDir | 0o755, "/new/folder/file": 0o644} {
		info, err := os.Stat(root + path)
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestAReadOnlyRootIsReadOnlyInsideAlone(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	c := container(t, root, func(_ *plan.Plan, r *mount.Root) error { r.ReadOnly(); return nil })
	if got := mountinfo(t, c.Pid)["/"]; !strings.HasPrefix(got, "ro") {
		t.Errorf("/ is %q", got)
	}
	write(t, root+"/file", "from outside")
}

func TestOnlyTheRootIsLeft(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t, t.TempDir(), mounts())
	if seen := mountinfo(t, c.Pid); len(seen) != 1 || seen["/"] == "" {
		t.Errorf("the container has the mounts %v", seen)
	}
}

func TestDevicesAreMade(t *testing.T) {
	testkit.HostUnchanged(t)
	c := container(t, t.TempDir(), func(p *plan.Plan, r *mount.Root) error {
		if err := r.Mount(tmpfs("/dev")); err != nil {
			return err
		}
		owner := uint32(7)
		return r.Devices(append(mount.DefaultDevices(), specs.LinuxDevice{Path: "/dev/fifo", Type: "p", UID: &owner},
			specs.LinuxDevice{Path: "/dev/in/folders/zero", Type: "c", Major: 1, Minor: 5}, specs.LinuxDevice{Path: "/dev/in/null", Type: "c", Major: 1, Minor: 3}))
	})
	for name, want := range map[string]uint64{
		"null": unix.Mkdev(1, 3), "urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0),
		"in/folders/zero": unix.Mkdev(1, 5), "in/null": unix.Mkdev(1, 3),
	} {
		var s unix.Stat_t
		if err := unix.Stat(inside(c, "/dev/"+name), &s); err != nil {
			t.Fatal(err)
		}
		if s.Rdev != want || s.Mode != unix.S_IFCHR|0o666 {
			t.Errorf("%s is device %#x with mode %#o", name, s.Rdev, s.Mode)
		}
	}
	var s unix.Stat_t
	if err := unix.Stat(inside(c, "/dev/fifo"), &s); err != nil || s.Mode != unix.S_IFIFO|0o666 || s.Uid != 7 {
		t.Errorf("fifo: mode %#o, owner %d, error %v", s.Mode, s.Uid, err)
	}
	if target, err := os.Readlink(inside(c, "/dev/stdin")); target != "/proc/self/fd/0" {
		t.Errorf("stdin leads to %q, %v", target, err)
	}
}

func TestPathsAreMaskedAndReadOnly(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	mkdir(t, root+"/secrets/deep")
	mkdir(t, root+"/settings/below")
	write(t, root+"/secret", "key")
	write(t, root+"/settings/one", "1")
	c := container(t, root, func(_ *plan.Plan, r *mount.Root) error {
		err := r.Mount(tmpfs("/settings/below"))
		for _, path := range []string{"/secret", "/secrets", "/missing"} {
			err = errors.Join(err, r.Mask(path))
		}
		r.ReadOnlyPath("/settings")
		r.ReadOnlyPath("/missing")
		return err
	})
	if text, err := os.ReadFile(inside(c, "/secret")); len(text) > 0 || err != nil {
		t.Errorf("the secret is %q, %v", text, err)
	}
	if entries, err := os.ReadDir(inside(c, "/secrets")); len(entries) > 0 || err != nil {
		t.Errorf("the secrets are %v, %v", entries, err)
	}
	for _, path := range []string{"/secrets/new", "/settings/new", "/settings/below/new"} {
		if err := os.WriteFile(inside(c, path), nil, 0o644); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("write %s: %v", path, err)
		}
	}
	// What covers a file is the host's own device, which nobody may change.
	if err := os.Chmod(inside(c, "/secret"), 0o666|os.ModeDevice|os.ModeCharDevice); !errors.Is(err, unix.EROFS) {
		t.Errorf("change the mode of the masking device: %v", err)
	}
	if got := mountinfo(t, c.Pid)["/secret"]; !strings.HasPrefix(got, "ro,nosuid,noexec,") {
		t.Errorf("the masking device is mounted %q", got)
	}
	if text, _ := os.ReadFile(inside(c, "/settings/one")); string(text) != "1" {
		t.Errorf("a read-only file holds %q", text)
	}
}
