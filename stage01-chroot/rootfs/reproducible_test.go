package rootfs_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/rootfs/inroot"
	"skiff.example/stage01-chroot/testkit"
)

// The same input gives the same tree: now or later, under any umask, in
// whatever order the names were made.

// digest describes all that a tree is, one line a name, down to the nanosecond.
func digest(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	links := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		must(t, err)
		rel, err := filepath.Rel(dir, name)
		must(t, err)
		var stat unix.Stat_t
		must(t, unix.Lstat(name, &stat))
		fmt.Fprintf(&text, "%q %o %d:%d %#x %d.%09d", rel, stat.Mode, stat.Uid, stat.Gid, stat.Rdev, stat.Mtim.Sec, stat.Mtim.Nsec)
		if first, again := links[stat.Ino]; again {
			fmt.Fprintf(&text, " is %q", first)
		}
		links[stat.Ino] = rel
		fmt.Fprintf(&text, "%s %q\n", contents(t, name, stat), xattrs(t, name))
		return nil
	}))
	return text.String()
}

func contents(t *testing.T, name string, stat unix.Stat_t) string {
	t.Helper()
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(name)
		must(t, err)
		return fmt.Sprintf(" %x", sha256.Sum256(data))
	case unix.S_IFLNK:
		link, err := os.Readlink(name)
		must(t, err)
		return " -> " + link
	}
	return ""
}

func xattrs(t *testing.T, name string) map[string]string {
	t.Helper()
	dir, err := os.Open(filepath.Dir(name))
	must(t, err)
	defer dir.Close()
	handle, err := inroot.Handle(dir, filepath.Base(name))
	must(t, err)
	defer handle.Close()
	all, err := inroot.Xattrs(handle)
	must(t, err)
	return all
}

// difference are the lines that only one of two texts has.
func difference(t *testing.T, a, b string) string {
	t.Helper()
	var lines strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", a, b}, {"+", b, a}} {
		for line := range strings.Lines(side.text) {
			if !strings.Contains(side.other, line) {
				lines.WriteString(side.sign + line)
			}
		}
	}
	return lines.String()
}

func TestTheSameInputGivesTheSameTree(t *testing.T) {
	testkit.Need(t, "sh", "ls")
	entries := []entry{dir("b/"), file("b/x", "1"), file("implied/by/this", "2"), link("l", "b"), dir("b/deep"), file("l/behind", "3")}
	reordered := []entry{entries[3], entries[2], entries[0], entries[4], entries[5], entries[1]}
	source := tree(t)
	for what, ways := range map[string][2]func(dir string) error{
		"programs": {
			func(dir string) error { return plan(t, "sh", "ls").Write(dir) },
			func(dir string) error { return plan(t, "ls", "sh", "ls").Write(dir) },
		},
		"an archive": {
			func(dir string) error { return rootfs.FromTar(dir, archive(t, entries...)) },
			func(dir string) error { return rootfs.FromTar(dir, archive(t, reordered...)) },
		},
		"a directory": {
			func(dir string) error { return rootfs.FromDirectory(dir, source) },
			func(dir string) error { return rootfs.FromDirectory(dir, anotherOrder(t, source)) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			first := made(t, 0o000, ways[0])
			time.Sleep(20 * time.Millisecond) // more than a tick of the clock that file systems go by
			if second := made(t, 0o077, ways[1]); first != second {
				t.Errorf("the second time it is different:\n%s", difference(t, first, second))
			}
		})
	}
}

// made is the digest of what a function makes in a new directory.
func made(t *testing.T, umask int, do func(dir string) error) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	must(t, os.Mkdir(dir, 0o755))
	defer unix.Umask(unix.Umask(umask))
	must(t, do(dir))
	return digest(t, dir)
}

// anotherOrder copies a tree with GNU tar, which makes the names from Z to A.
func anotherOrder(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	sh(t, source, `find . -print0 | LC_ALL=C sort -zr |
		tar --create --no-recursion --null --files-from=- --sparse --xattrs --xattrs-include='*' --format=pax |
		tar --extract --directory="`+dir+`" --preserve-permissions --delay-directory-restore --xattrs --xattrs-include='*'`)
	return dir
}

func TestAnArchiveIsReproducibleToo(t *testing.T) {
	var first, second bytes.Buffer
	must(t, plan(t, "sh").Tar(&first))
	defer unix.Umask(unix.Umask(0o077))
	must(t, plan(t, "sh").Tar(&second))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the archives differ")
	}
}

func TestAnExistingRootDirectoryKeepsItsModeUnlessTheInputSaysIt(t *testing.T) {
	root := t.TempDir()
	must(t, os.Chmod(root, 0o710))
	must(t, rootfs.FromTar(root, archive(t, file("a/b", ""))))
	info, err := os.Stat(root)
	must(t, err)
	if info.Mode().Perm() != 0o710 || info.ModTime().Unix() != 0 {
		t.Errorf("it has mode %v and time %v", info.Mode(), info.ModTime())
	}
	must(t, plan(t).Write(root))
	if info, err = os.Stat(root); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a closure's root has mode %v, %v", info.Mode(), err)
	}
}
