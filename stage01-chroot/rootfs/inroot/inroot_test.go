package inroot_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs/inroot"
	"skiff.example/stage01-chroot/testkit"
)

// Each test works in a folder "root" that has a neighbour "outside". Whatever
// a name tries, the file is made in root, or not at all, and outside stays
// empty: that is checked at the end of each.

func TestANameIsWalkedAsAProcessInAChrootWould(t *testing.T) {
	for _, c := range []struct {
		what, links, name, made string // links: "name→text" separated by spaces
	}{
		{"a plain name", "", "file", "file"},
		{"missing parents are made", "", "usr/bin/ls", "usr/bin/ls"},
		{"a leading slash is the root", "", "/etc/passwd", "etc/passwd"},
		{"dots and empty components", "", "./a//b/./file", "a/b/file"},
		{"dot-dot goes up", "", "a/b/../file", "a/file"},
		{"dot-dot stays at the root", "", "../../outside/file", "outside/file"},
		{"a link to the root", "a→/", "a/file", "file"},
		{"an absolute link", "a→/b", "a/file", "b/file"},
		{"a relative link", "usr/lib64→lib", "usr/lib64/file", "usr/lib/file"},
		{"a link that climbs", "a→../../../outside", "a/file", "outside/file"},
		{"a link to a link", "a→b b→/c", "a/file", "c/file"},
		{"a link in a link's text", "a→b/d b→/c", "a/file", "c/d/file"},
		{"dot-dot after a link is the target's parent", "a→/b/c", "a/../file", "b/file"},
		{"a dangling link, then more", "a→/b/c", "a/d/e/file", "b/c/d/e/file"},
		{"an absolute path of the host", "a→OUTSIDE", "a/file", "OUTSIDE/file"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir, outside := scene(t)
			root := open(t, dir)
			for _, l := range strings.Fields(c.links) {
				name, text, _ := strings.Cut(strings.ReplaceAll(l, "OUTSIDE", outside), "→")
				at(t, root, name, func(dir *os.File, base string) error { return inroot.Symlink(dir, base, text) })
			}
			at(t, root, c.name, func(dir *os.File, base string) error { return create(dir, base, "hello") })
			made := strings.ReplaceAll(c.made, "OUTSIDE", outside)
			if text, err := os.ReadFile(filepath.Join(dir, made)); string(text) != "hello" {
				t.Errorf("%s was not made: %v", made, err)
			}
		})
	}
}

func TestAnExistingTreeIsWalkedTheSameWay(t *testing.T) {
	dir, outside := scene(t)
	must(t, os.MkdirAll(filepath.Join(dir, "usr/lib"), 0o755))
	must(t, os.Symlink("/usr/lib", filepath.Join(dir, "lib")))
	must(t, os.Symlink(outside, filepath.Join(dir, "evil")))
	root := open(t, dir)
	at(t, root, "lib/libc.so.6", func(dir *os.File, base string) error { return create(dir, base, "libc") })
	if text, _ := os.ReadFile(filepath.Join(dir, "usr/lib/libc.so.6")); string(text) != "libc" {
		t.Error("the file is not in usr/lib")
	}
	file, err := root.Lookup("lib/libc.so.6", unix.O_RDONLY)
	must(t, err)
	must(t, file.Close())
	if _, err := root.Lookup("evil", unix.O_PATH); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a link to a place outside: %v, want ENOENT", err)
	}
}

func TestWhatCannotBeWalkedIsAnError(t *testing.T) {
	dir, _ := scene(t)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.Symlink("file", filepath.Join(dir, "link-to-file")))
	root := open(t, dir)
	for name, want := range map[string]error{
		"file/x":                             unix.ENOTDIR,
		"link-to-file/x":                     unix.ENOTDIR,
		"loop/x":                             unix.ELOOP,
		"a\x00b/x":                           unix.EINVAL,
		strings.Repeat("n", 256) + "/x":      unix.ENAMETOOLONG,
		strings.Repeat("d/", 10_000) + "x":   unix.ENAMETOOLONG,
		"missing/../file/missing-too/../../": unix.ENOTDIR,
	} {
		parent, _, err := root.Parent(name)
		if !errors.Is(err, want) {
			t.Errorf("Parent(%.20q) = %v, want %v", name, err, want)
		}
		if err == nil {
			parent.Close()
		}
	}
}

func TestANameOfADirectoryItselfHasDotAsItsBase(t *testing.T) {
	dir, _ := scene(t)
	root := open(t, dir)
	for name, place := range map[string]string{
		"": ".", ".": ".", "/": ".", "./": ".", "..": ".", "a/..": ".", "a/b/.": "a/b", "a/b/../": "a",
	} {
		parent, base, err := root.Parent(name)
		must(t, err)
		got, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", parent.Fd()))
		must(t, err)
		if want := filepath.Join(dir, place); base != "." || got != want {
			t.Errorf("Parent(%q) = %s, %q, want %s, \".\"", name, got, base, want)
		}
		if err := inroot.RemoveAll(parent, base); !errors.Is(err, unix.EINVAL) {
			t.Errorf("RemoveAll of %q: %v, want EINVAL", name, err)
		}
		if err := inroot.Symlink(parent, base, "/tmp"); !errors.Is(err, unix.EEXIST) {
			t.Errorf("Symlink as %q: %v, want EEXIST", name, err)
		}
		must(t, parent.Close())
	}
}

func TestTheLastComponentIsNeverFollowed(t *testing.T) {
	dir, outside := scene(t)
	must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "link")))
	root := open(t, dir)
	for what, call := range map[string]func(dir *os.File, base string) error{
		"Create":  func(dir *os.File, base string) error { return create(dir, base, "x") },
		"Mkdir":   func(dir *os.File, base string) error { return inroot.Mkdir(dir, base, 0o755) },
		"Symlink": func(dir *os.File, base string) error { return inroot.Symlink(dir, base, "x") },
		"Mknod":   func(dir *os.File, base string) error { return inroot.Mknod(dir, base, unix.S_IFIFO|0o600, 0) },
		"Link":    func(dir *os.File, base string) error { return root.Link(dir, base, "link") },
	} {
		parent, base, err := root.Parent("link")
		must(t, err)
		if err := call(parent, base); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s on a link: %v, want EEXIST", what, err)
		}
		must(t, parent.Close())
	}
}

func TestAHardLinkIsLookedUpInTheRoot(t *testing.T) {
	dir, outside := scene(t)
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("inside"), 0o600))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(outside), "secret"), nil, 0o600))
	root := open(t, dir)
	at(t, root, "hard", func(dir *os.File, base string) error { return root.Link(dir, base, "../../file") })
	if text, _ := os.ReadFile(filepath.Join(dir, "hard")); string(text) != "inside" {
		t.Error("../../file is not the file in the root")
	}
	parent, base, err := root.Parent("stolen")
	must(t, err)
	defer parent.Close()
	if err := root.Link(parent, base, "../secret"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("hard link to ../secret: %v, want ENOENT", err)
	}
}

func TestModesAreSetWhateverTheUmask(t *testing.T) {
	dir, _ := scene(t)
	defer unix.Umask(unix.Umask(0o077))
	root := open(t, dir)
	at(t, root, "file", func(dir *os.File, base string) error {
		file, err := inroot.Create(dir, base, 0o4755)
		if err != nil {
			return err
		}
		return file.Close()
	})
	at(t, root, "dir", func(dir *os.File, base string) error { return inroot.Mkdir(dir, base, 0o1777) })
	at(t, root, "fifo", func(dir *os.File, base string) error {
		return inroot.Mknod(dir, base, unix.S_IFIFO|0o666, 0)
	})
	for name, want := range map[string]uint32{
		"file": unix.S_IFREG | 0o4755, "dir": unix.S_IFDIR | 0o1777, "fifo": unix.S_IFIFO | 0o666,
	} {
		stat, err := inroot.Stat(root.Dir(), name)
		must(t, err)
		if stat.Mode != want {
			t.Errorf("%s has mode %o, want %o", name, stat.Mode, want)
		}
	}
}

func TestDirectoriesOnTheWayAreTold(t *testing.T) {
	dir, _ := scene(t)
	defer unix.Umask(unix.Umask(0o077))
	must(t, os.Mkdir(filepath.Join(dir, "there"), 0o700))
	must(t, os.Symlink("/b/c", filepath.Join(dir, "a")))
	root := open(t, dir)
	for _, c := range []struct{ name, made string }{
		{"there/file", ""},
		{"there/x/y/file", "there/x there/x/y"},
		{"a/d/../e/file", "b b/c b/c/d b/c/e"},
		{"b/c/f/../file", "b/c/f"},
	} {
		at(t, root, c.name, func(*os.File, string) error { return nil })
		made := root.Made()
		if got := strings.Join(made, " "); got != c.made {
			t.Errorf("%s: made %q, want %q", c.name, got, c.made)
		}
		for _, name := range made {
			info, err := os.Stat(filepath.Join(dir, name))
			must(t, err)
			if info.Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
		}
	}
}

// A handle is the file that it was opened for, whatever has its name now.
func TestAHandleReadsOneFile(t *testing.T) {
	dir, _ := scene(t)
	root := open(t, dir)
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("first"), 0o600))
	long := strings.Repeat("v", 3000) // more than a first guess of a buffer
	must(t, unix.Setxattr(file, "user.long", []byte(long), 0))
	must(t, unix.Setxattr(file, "user.empty", nil, 0))
	handle, err := inroot.Handle(root.Dir(), "file")
	must(t, err)
	defer handle.Close()
	must(t, os.Remove(file))
	must(t, os.Symlink("/etc/passwd", file))
	reader, err := inroot.Reopen(handle, unix.O_RDONLY)
	must(t, err)
	defer reader.Close()
	if text, err := io.ReadAll(reader); string(text) != "first" {
		t.Errorf("it reads %q, %v", text, err)
	}
	xattrs, err := inroot.Xattrs(handle)
	if err != nil || len(xattrs) != 2 || xattrs["user.long"] != long {
		t.Errorf("it has attributes %.100v, %v", xattrs, err)
	}
	if _, err := inroot.Readlink(handle); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a file read as a link: %v", err)
	}
	link, err := inroot.Handle(root.Dir(), "file")
	must(t, err)
	defer link.Close()
	if text, err := inroot.Readlink(link); text != "/etc/passwd" {
		t.Errorf("the link reads %q, %v", text, err)
	}
	if _, err := inroot.Reopen(link, unix.O_RDONLY); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link was opened: %v", err)
	}
}

func TestADeviceIsMadeAsGiven(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, _ := scene(t)
	root := open(t, dir)
	at(t, root, "dev/null", func(dir *os.File, base string) error {
		return inroot.Mknod(dir, base, unix.S_IFCHR|0o666, unix.Mkdev(1, 3))
	})
	var stat unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir, "dev/null"), &stat))
	if stat.Mode != unix.S_IFCHR|0o666 || stat.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("dev/null has mode %o and number %#x", stat.Mode, stat.Rdev)
	}
}

func TestRemoveAllRemovesLinksAndNotWhatTheyPointTo(t *testing.T) {
	dir, outside := scene(t)
	kept := filepath.Join(filepath.Dir(outside), "kept")
	must(t, os.Mkdir(kept, 0o755))
	must(t, os.WriteFile(filepath.Join(kept, "file"), nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "tree/a/b"), 0o755))
	must(t, os.Symlink(kept, filepath.Join(dir, "tree/a/link")))
	must(t, os.Symlink(kept, filepath.Join(dir, "link")))
	root := open(t, dir)
	for _, name := range []string{"tree", "link", "missing"} {
		at(t, root, name, inroot.RemoveAll)
	}
	if _, err := os.Stat(filepath.Join(kept, "file")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestRemoveAllGoesAsDeepAsAnybodyCanBuild(t *testing.T) {
	dir, _ := scene(t)
	root := open(t, dir)
	const depth = 3000 // "d/d/d…" is longer than PATH_MAX
	at, err := os.Open(dir)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(int(at.Fd()), "d", 0o755))
		must(t, create(at, "file", ""))
		fd, err := unix.Openat(int(at.Fd()), "d", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, at.Close())
		at = os.NewFile(uintptr(fd), "d")
	}
	must(t, at.Close())
	must(t, inroot.RemoveAll(root.Dir(), "d"))
	if _, err := inroot.Stat(root.Dir(), "d"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestRemoveAllStopsAtAMount(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, _ := scene(t)
	mounted := filepath.Join(dir, "tree/mounted")
	must(t, os.MkdirAll(mounted, 0o755))
	must(t, unix.Mount("none", mounted, "tmpfs", 0, ""))
	defer unix.Unmount(mounted, 0)
	must(t, os.WriteFile(filepath.Join(mounted, "file"), nil, 0o600))
	root := open(t, dir)
	if err := inroot.RemoveAll(root.Dir(), "tree"); !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EXDEV) {
		t.Errorf("removing a mount: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mounted, "file")); err != nil {
		t.Errorf("a file of the mount was removed: %v", err)
	}
}

// Somebody mounts a directory of the outside on one that is being removed. Where
// the mount was there before, the kernel refuses to remove its place (EBUSY).
// Between that answer and the look into the directory it can come: then what is
// mounted must not be opened.
func TestRemoveAllStopsAtAMountThatIsMadeMeanwhile(t *testing.T) {
	testkit.HostUnchanged(t)
	dir, _ := scene(t)
	precious, place := filepath.Join(t.TempDir(), "precious"), filepath.Join(dir, "d")
	must(t, os.MkdirAll(precious+"/a", 0o755))
	root := open(t, dir)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default: // fails where d is not there just now
				_ = unix.Mount(precious, place, "", unix.MS_BIND, "")
				_ = unix.Unmount(place, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			}
		}
	}()
	const attempts = 2000
	for range attempts {
		_ = os.MkdirAll(place+"/a", 0o755) // may be in precious, where it is already
		_ = inroot.RemoveAll(root.Dir(), "d")
		if _, err := os.Stat(precious + "/a"); err != nil {
			t.Errorf("what was mounted was removed: %v", err)
			break
		}
	}
	close(stop)
	<-stopped
}

// A swap of a directory and a link to the outside, while names are walked:
// CVE-2021-30465 is this race.
func TestASwapWhileWalkingLeadsNowhere(t *testing.T) {
	dir, outside := scene(t)
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	must(t, os.Symlink(outside, filepath.Join(dir, "b")))
	root := open(t, dir)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "a"), unix.AT_FDCWD, filepath.Join(dir, "b"), unix.RENAME_EXCHANGE)
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 2000 {
		if parent, base, err := root.Parent("a/missing/x"); err == nil {
			if err := create(parent, base, "x"); err == nil {
				must(t, inroot.RemoveAll(parent, base))
			}
			must(t, unix.Unlinkat(int(root.Dir().Fd()), "a/missing", unix.AT_REMOVEDIR), unix.ENOENT, unix.ENOTEMPTY)
			must(t, parent.Close())
		}
	}
	close(stop)
	must(t, <-stopped)
}

// scene makes the two folders, and checks at the end that nothing came out.
func scene(t *testing.T) (root, outside string) {
	t.Helper()
	base := t.TempDir()
	root, outside = filepath.Join(base, "root"), filepath.Join(base, "outside")
	must(t, os.Mkdir(root, 0o755))
	must(t, os.Mkdir(outside, 0o755))
	t.Cleanup(func() {
		if escaped, err := os.ReadDir(outside); err != nil || len(escaped) > 0 {
			t.Errorf("outside the root there is now %v (%v)", escaped, err)
		}
	})
	return root, outside
}

func open(t *testing.T, dir string) *inroot.Root {
	t.Helper()
	root, err := inroot.Open(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// at calls with the parent of name.
func at(t *testing.T, root *inroot.Root, name string, call func(dir *os.File, base string) error) {
	t.Helper()
	parent, base, err := root.Parent(name)
	must(t, err)
	must(t, call(parent, base))
	must(t, parent.Close())
}

func create(dir *os.File, base, text string) error {
	file, err := inroot.Create(dir, base, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Close()
}

// must fails the test on an error that is none of the tolerated ones.
func must(t *testing.T, err error, tolerated ...error) {
	t.Helper()
	for _, fine := range tolerated {
		if errors.Is(err, fine) {
			return
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
