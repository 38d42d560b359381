package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
)

// listing is everything in a directory: names, modes, owners, times, contents,
// targets of links, a line each.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var s unix.Stat_t
		if err := unix.Lstat(path, &s); err != nil {
			return err
		}
		content := ""
		switch s.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%d bytes %.20q", len(text), text)
		case unix.S_IFLNK:
			content, err = os.Readlink(path)
		}
		fmt.Fprintf(&b, "%s %#o %d:%d %d.%09d %#x %s\n", strings.TrimPrefix(path, dir), s.Mode, s.Uid, s.Gid, s.Mtim.Sec, s.Mtim.Nsec, s.Rdev, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// variety makes a file of each kind in dir, with times long ago.
func variety(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir+"/deep/deeper")
	write(t, dir+"/empty", "")
	write(t, dir+"/deep/big", strings.Repeat("much ", 1<<18))
	write(t, dir+"/deep/deeper/tool", "#!")
	symlink(t, "/etc/passwd", dir+"/link")
	symlink(t, "nowhere", dir+"/deep/dangling")
	err := errors.Join(
		unix.Mkfifo(dir+"/fifo", 0o640), unix.Mknod(dir+"/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		unix.Mknod(dir+"/socket", unix.S_IFSOCK|0o755, 0),
		os.Lchown(dir+"/link", 3, 4), os.Chown(dir+"/deep/deeper/tool", 5, 6), os.Chown(dir+"/deep", 7, 8),
		unix.Chmod(dir+"/deep/deeper/tool", 0o6755), unix.Chmod(dir+"/deep", 0o1777),
	)
	old := unix.NsecToTimespec(time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC).UnixNano())
	for _, name := range []string{"empty", "deep/big", "deep/deeper/tool", "link", "fifo", "deep/deeper", "deep", "."} {
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTmpcopyupBeginsWithWhatIsCovered(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	variety(t, root+"/etc")
	symlink(t, "/etc", root+"/config") // as the container sees it
	if err := errors.Join(os.Chown(root+"/etc", 9, 10), unix.Chmod(root+"/etc", 0o750)); err != nil {
		t.Fatal(err)
	}
	c := container(t, root, mounts(tmpfs("/config", "tmpcopyup", "ro")))
	want := listing(t, root+"/etc")
	if got := listing(t, inside(c, "/etc")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := mountinfo(t, c.Pid)["/etc"]; got != "ro,relatime" {
		t.Errorf("/etc is %q", got)
	}
	var s unix.Stat_t
	if err := unix.Stat(inside(c, "/etc"), &s); err != nil || s.Mode != unix.S_IFDIR|0o750 || s.Uid != 9 || s.Gid != 10 {
		t.Errorf("/etc has mode %#o, owner %d:%d, %v", s.Mode, s.Uid, s.Gid, err)
	}
	write(t, inside(container(t, root, mounts(tmpfs("/etc", "tmpcopyup"))), "/etc/empty"), "new")
	if text, _ := os.ReadFile(root + "/etc/empty"); len(text) > 0 {
		t.Errorf("the image's file now holds %q", text)
	}
}

func TestTmpcopyupSeesTheMountsBefore(t *testing.T) {
	testkit.HostUnchanged(t)
	root, volume := t.TempDir(), t.TempDir()
	write(t, volume+"/a", "the volume's")
	mkdir(t, root+"/data")
	write(t, root+"/data/b", "covered")
	c := container(t, root, mounts(
		bind(volume, "/data"), tmpfs("/data", "tmpcopyup"),
		tmpfs("/new"), tmpfs("/new/below", "tmpcopyup"), tmpfs("/missing", "tmpcopyup"),
	))
	if got := listing(t, inside(c, "/data")); got != listing(t, volume) {
		t.Errorf("/data holds\n%s", got)
	}
	if got := listing(t, inside(c, "/new/below")) + listing(t, inside(c, "/missing")); got != "" {
		t.Errorf("an empty place gave\n%s", got)
	}
}

func TestTmpcopyupInAUserNamespaceKeepsMappedOwners(t *testing.T) {
	testkit.HostUnchanged(t)
	root := ownRoot(t)
	mkdir(t, root+"/etc")
	write(t, root+"/etc/mine", "")
	write(t, root+"/etc/hosts", "")
	if err := os.Chown(root+"/etc/mine", 100_005, 100_006); err != nil {
		t.Fatal(err)
	}
	c, err := own.attempt(t, root, mounts(tmpfs("/etc", "tmpcopyup")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"mine": "100005:100006", "hosts": "100000:100000"} {
		var s unix.Stat_t
		if err := unix.Stat(inside(c, "/etc/"+name), &s); err != nil || fmt.Sprintf("%d:%d", s.Uid, s.Gid) != want {
			t.Errorf("%s belongs to %d:%d, want %s (%v)", name, s.Uid, s.Gid, want, err)
		}
	}
}

func TestTmpcopyupCopiesManyFilesButNotAnyNumber(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	privately(t, func() {
		mountTmpfs(t, root, "") // faster than a disk
		mkdir(t, root+"/many")
		for i := range 4097 {
			write(t, fmt.Sprintf("%s/many/%d", root, i), "")
		}
		err := mount.NewRoot(&plan.Plan{}, root).Mount(tmpfs("/many", "tmpcopyup"))
		wantError(t, err, `mount "/many": option "tmpcopyup": more than 4096 files`, "use a volume")
		if err := os.Remove(root + "/many/0"); err != nil {
			t.Fatal(err)
		}
		c := container(t, root, mounts(tmpfs("/many", "tmpcopyup")))
		if all, err := os.ReadDir(inside(c, "/many")); len(all) != 4096 {
			t.Errorf("%d files were copied, %v", len(all), err)
		}
	})
}

func TestTmpcopyupFailsRatherThanCopyInPart(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	mkdir(t, root+"/big")
	write(t, root+"/big/file", strings.Repeat("x", 1<<18))
	_, err := attempt(t, root, mounts(tmpfs("/big", "tmpcopyup", "size=64k")))
	wantError(t, err, `copy "/big/file" into the tmpfs on "/big": no space left`, "too small for what it is to begin with")

	_, err = attempt(t, root, mounts(specs.Mount{Destination: "/proc", Type: "proc"},
		specs.Mount{Destination: "/x", Type: "proc", Options: []string{"tmpcopyup"}}))
	wantError(t, err, `option "tmpcopyup" is for tmpfs only`, "")

	p := &plan.Plan{} // a root that the plan itself will mount
	p.Add(plan.Mount("", "/", "", unix.MS_PRIVATE, ""), plan.Mount("overlay", root, "overlay", 0, ""))
	err = mount.NewRoot(p, root).Mount(tmpfs("/big", "tmpcopyup"))
	wantError(t, err, "not to be seen before the plan runs", "")
}

func TestATmpfsWithoutAModeHasThatOfItsMountPoint(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	for name, mode := range map[string]uint32{"private": 0o700, "sticky": 0o1777, "elsewhere": 0o711, "given": 0o700} {
		mkdir(t, root+"/"+name)
		if err := unix.Chmod(root+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	symlink(t, "elsewhere", root+"/link")
	c := container(t, root, mounts(tmpfs("/private"), tmpfs("/sticky"), tmpfs("/link"), tmpfs("/given", "mode=750"), tmpfs("/missing")))
	for name, want := range map[string]uint32{"private": 0o700, "sticky": 0o1777, "elsewhere": 0o711, "given": 0o750, "missing": 0o1777} {
		var s unix.Stat_t
		if err := unix.Stat(inside(c, "/"+name), &s); err != nil || s.Mode&^unix.S_IFMT != want {
			t.Errorf("/%s has mode %#o, want %#o (%v)", name, s.Mode&^unix.S_IFMT, want, err)
		}
	}
}

// A program that belongs to nobody in the container is set-user-ID for nobody; the
// copy, which belongs to the container's root, must not make others into that.
func TestACopyIsSetUserIDForItsOldOwnerOnly(t *testing.T) {
	testkit.HostUnchanged(t)
	root := ownRoot(t)
	mkdir(t, root+"/d")
	for name, owner := range map[string][2]int{"nobodys": {70_000, 70_000}, "his": {100_007, 70_000}, "its": {70_000, 100_007}, "both": {100_007, 100_007}} {
		write(t, root+"/d/"+name, "#!")
		if err := errors.Join(os.Chown(root+"/d/"+name, owner[0], owner[1]), unix.Chmod(root+"/d/"+name, 0o6755)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := own.attempt(t, root, mounts(tmpfs("/d", "tmpcopyup")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"nobodys": 0o755, "his": 0o4755, "its": 0o2755, "both": 0o6755} {
		var s unix.Stat_t
		if err := unix.Stat(inside(c, "/d/"+name), &s); err != nil || s.Mode != unix.S_IFREG|want {
			t.Errorf("%s has mode %#o, want %#o, %v", name, s.Mode, want, err)
		}
	}
}

func TestWhatCannotBeCopiedWholeIsRefused(t *testing.T) {
	root := t.TempDir()
	mkdir(t, root+"/d")
	write(t, root+"/d/large", "")
	if err := os.Truncate(root+"/d/large", 2<<30); err != nil {
		t.Fatal(err)
	}
	err := mount.NewRoot(&plan.Plan{}, root).Mount(tmpfs("/d", "tmpcopyup"))
	wantError(t, err, `"large": 2147483648 bytes: file too large`, "use a volume")
}
