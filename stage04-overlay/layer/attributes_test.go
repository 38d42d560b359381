package layer_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/layer"
)

// attributes lists all that tar keeps of each file below root, one line for
// each. Files with several names are numbered.
func attributes(t testing.TB, root string) (lines []string) {
	t.Helper()
	links := map[uint64]int{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if st.Mode == unix.S_IFCHR && st.Rdev == 0 {
			lines = append(lines, name+" is a whiteout") // its times are seen by nobody
			return nil
		}
		line := fmt.Sprintf("%s mode %o owner %d:%d device %#x time %d.%09d", name,
			st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" content %q", content)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" to %q", target)
		}
		line += xattrsOf(t, path)
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if links[st.Ino] == 0 {
				links[st.Ino] = len(links) + 1
			}
			line += fmt.Sprintf(" file number %d with %d names", links[st.Ino], st.Nlink)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// xattrsOf lists the extended attributes of a file.
func xattrsOf(t testing.TB, path string) (list string) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			t.Fatal(err)
		}
		list += fmt.Sprintf(" %s=%q", name, buf[:n])
	}
	return list
}

// capNetRaw is security.capability with CAP_NET_RAW, as setcap writes it for
// ping (man 7 capabilities, "File capability extended attribute versioning").
const capNetRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// sample makes a directory with a file of every sort.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	must := func(errs ...error) {
		for _, err := range errs {
			if err != nil {
				t.Helper()
				t.Fatal(err)
			}
		}
	}
	file := func(name, content string, mode uint32, uid, gid int) {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, []byte(content), 0o600), os.Chown(path, uid, gid), unix.Chmod(path, mode))
	}
	must(os.Chmod(dir, 0o751), os.Chown(dir, 1, 2))
	must(os.MkdirAll(dir+"/d/e", 0o755), unix.Chmod(dir+"/d/e", 0o1777), os.Mkdir(dir+"/setgid", 0o755))
	must(os.Chown(dir+"/setgid", 5, 6), unix.Chmod(dir+"/setgid", 0o2770))
	file("passwd", "root", 0o4755, 0, 42)
	file("setgid/su", "x", 0o6711, 1000, 1001)
	file("ping", "icmp", 0o755, 0, 0)
	file("secret", "", 0o000, 4_000_000_000, 4_000_000_001)
	file("ümläut and\nnewline", "x", 0o644, 0, 0)
	file("d/"+strings.Repeat("n", 255), "long name", 0o644, 0, 0)
	must(os.Link(dir+"/passwd", dir+"/d/chsh"), os.Link(dir+"/passwd", dir+"/aa"))
	must(os.Symlink("/../nowhere", dir+"/d/link"), os.Lchown(dir+"/d/link", 3, 4))
	must(os.Symlink(strings.Repeat("../", 100)+"x", dir+"/longlink"))
	must(unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chown(dir+"/null", 7, 8))
	must(unix.Mknod(dir+"/disk", unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	must(unix.Mkfifo(dir+"/fifo", 0o600), unix.Chmod(dir+"/fifo", 0o622))
	must(unix.Setxattr(dir+"/ping", "security.capability", []byte(capNetRaw), 0))
	must(unix.Setxattr(dir+"/d", "user.note", []byte("with\x00zero and ü"), 0))
	must(unix.Setxattr(dir+"/passwd", "user.empty", nil, 0))
	must(unix.Lsetxattr(dir+"/d/link", "trusted.link", []byte("1"), 0))
	for i, name := range []string{"passwd", "d/link", "null", "fifo", "d/e", "setgid", "d", "."} {
		at := unix.Timespec{Sec: 1_600_000_000 + int64(i), Nsec: 123_456_789}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	}
	return dir
}

// run runs a program that must succeed.
func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// GNU tar packs, Apply unpacks: nothing is lost.
func TestUnpackWhatGNUTarPacked(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar")
	dir, file := sample(t), t.TempDir()+"/layer.tar"
	run(t, "tar", "-C", dir, "--format=posix", "--xattrs", "--xattrs-include=*", "--sort=name", "-cf", file, ".")
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	same(t, attributes(t, apply(t, archive)), attributes(t, dir))
}

// Write packs, GNU tar unpacks: nothing is lost.
func TestGNUTarUnpacksWhatIsWritten(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar")
	dir, out, file := sample(t), t.TempDir(), t.TempDir()+"/layer.tar"
	if err := os.WriteFile(file, pack(t, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", out, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", file)
	same(t, attributes(t, out), attributes(t, dir))
}

// The same in circles gives the same bytes.
func TestWriteApplyWrite(t *testing.T) {
	testkit.HostUnchanged(t)
	first := pack(t, sample(t))
	if !bytes.Equal(first, pack(t, apply(t, first))) {
		t.Error("a layer that was unpacked and packed again has changed")
	}
}

// A sparse file stays one, in each of GNU tar's formats.
func TestSparseFiles(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar")
	dir := t.TempDir()
	f, err := os.Create(dir + "/sparse")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 5 << 20, 9<<20 - 7} {
		if _, err := f.WriteAt([]byte("island"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(16 << 20); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"} {
		t.Run(format, func(t *testing.T) {
			file := t.TempDir() + "/layer.tar"
			run(t, "tar", "-C", dir, "-S", "--format=posix", format, "-cf", file, ".")
			archive, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out := apply(t, archive)
			same(t, list(t, out), list(t, dir))
			var st unix.Stat_t
			if err := unix.Stat(out+"/sparse", &st); err != nil || st.Blocks*512 > 2<<20 {
				t.Errorf("the file takes %d bytes on disk, error %v", st.Blocks*512, err)
			}
		})
	}
}

// Names of users mean something where the image was made. Numbers count.
func TestNumbersWinOverNames(t *testing.T) {
	testkit.Root(t)
	h := header("a=1")
	h.Uid, h.Gid, h.Uname, h.Gname = 12345, 54321, "root", "root"
	dir := apply(t, archiveOf(t, h))
	var st unix.Stat_t
	if err := unix.Stat(dir+"/a", &st); err != nil || st.Uid != 12345 || st.Gid != 54321 {
		t.Errorf("owner %d:%d, error %v; want 12345:54321", st.Uid, st.Gid, err)
	}
}

// A directory without an entry looks as it did below: overlayfs shows the
// topmost layer's attributes.
func TestImpliedDirectoriesLookAsBelow(t *testing.T) {
	testkit.Root(t)
	note := map[string]string{"SCHILY.xattr.user.note": "hi"}
	at := time.Unix(1_500_000_000, 5)
	below := apply(t, archiveOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o711, Uid: 1, Gid: 2, ModTime: at, Format: tar.FormatPAX},
		tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, Uid: 3, Gid: 4, ModTime: at, PAXRecords: note, Format: tar.FormatPAX}))
	above := apply(t, archive(t, "tmp/new/a=1"), below)

	got := attributes(t, above)[:3]
	same(t, got, []string{
		". mode 40711 owner 1:2 device 0x0 time 1500000000.000000005",
		"tmp mode 41777 owner 3:4 device 0x0 time 1500000000.000000005 user.note=\"hi\"",
		"tmp/new mode 40755 owner 0:0 device 0x0 time 0.000000000",
	})
}

// A later entry for a directory replaces all attributes, and no file.
func TestADirectoryEntryReplacesAttributes(t *testing.T) {
	testkit.Root(t)
	note := map[string]string{"SCHILY.xattr.user.note": "hi"}
	dir := apply(t, archiveOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o1777, Uid: 3, PAXRecords: note},
		header("d/a=1"),
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o700, Uid: 5, ModTime: time.Unix(9, 0)}))
	same(t, attributes(t, dir)[1:], []string{
		"d mode 40700 owner 5:0 device 0x0 time 9.000000000",
		`d/a mode 100644 owner 0:0 device 0x0 time 0.000000000 content "1"`,
	})
}

// Overlayfs's own attributes would let a layer show what is not in it.
func TestOverlayAttributesAreDropped(t *testing.T) {
	testkit.Root(t)
	dir := apply(t, archiveOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect": "/secret",
		"SCHILY.xattr.trusted.overlay.opaque":   "y",
		"SCHILY.xattr.user.overlay.opaque":      "y",
		"SCHILY.xattr.user.kept":                "1",
	}}))
	if got, want := xattrsOf(t, dir+"/d"), ` user.kept="1"`; got != want {
		t.Errorf("got%s, want%s", got, want)
	}
}

// acl is an access control list, in version 2: owner rwx, user 1000 rwx, group
// r-x, mask rwx, others none (man 5 acl; linux/posix_acl_xattr.h).
const acl = "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x07\x00\xe8\x03\x00\x00" +
	"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// A file gets the attributes of its entry, and none from its directory's
// default access control list or group; also not if the directory is the layer's.
func TestNothingIsInherited(t *testing.T) {
	testkit.Root(t)
	own := t.TempDir()
	if err := errors.Join(unix.Setxattr(own, "system.posix_acl_default", []byte(acl), 0), os.Chown(own, 0, 99), unix.Chmod(own, 0o2775)); err != nil {
		t.Fatal(err)
	}
	if _, err := layer.Apply(own, bytes.NewReader(archive(t, "a=1")), layer.Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, attributes(t, own), []string{
		". mode 40755 owner 0:0 device 0x0 time 0.000000000",
		`a mode 100644 owner 0:0 device 0x0 time 0.000000000 content "1"`,
	})
	dir := apply(t, archiveOf(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.system.posix_acl_default": acl,
		}},
		header("d/a=1"), header("d/s/"), header("d/l -> a"),
		tar.Header{Typeflag: tar.TypeReg, Name: "listed", Mode: 0o600, PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": acl}}))
	if xattrsOf(t, dir+"/d") == "" {
		t.Error("the default ACL itself is lost")
	}
	same(t, attributes(t, dir)[2:5], []string{
		`d/a mode 100644 owner 0:0 device 0x0 time 0.000000000 content "1"`,
		`d/l mode 120777 owner 0:0 device 0x0 time 0.000000000 to "a"`,
		"d/s mode 40755 owner 0:0 device 0x0 time 0.000000000",
	})
	if got := attributes(t, dir)[5]; !strings.HasPrefix(got, "listed mode 100600 ") || !strings.Contains(got, "posix_acl_access") {
		t.Errorf("%s: want mode 100600, and a list", got)
	}
}

// A hard link to a file of a lower layer copies it up with everything.
func TestCopyUpForAHardLink(t *testing.T) {
	testkit.Root(t)
	below := apply(t, pack(t, sample(t)))
	for link, target := range map[string]string{"x": "setgid/su", "d/x": "ping", "y/z": "d/link", "z": "null"} {
		above := apply(t, archive(t, link+" == "+target), below)
		want := attributesOf(t, below, target)
		if got := attributesOf(t, above, target); got != want {
			t.Errorf("%s was copied up as\n%s, want\n%s", target, got, want)
		}
		if got := attributesOf(t, above, link); got != want {
			t.Errorf("%s became\n%s, want\n%s", link, got, want)
		}
	}
}

// attributesOf are the attributes of one file, less its name and links.
func attributesOf(t testing.TB, root, name string) string {
	t.Helper()
	for _, line := range attributes(t, root) {
		if rest, ok := strings.CutPrefix(line, name+" mode "); ok {
			rest, _, _ = strings.Cut(rest, " file number")
			return rest
		}
	}
	return "not there"
}

// The summary counts what was made.
func TestSummary(t *testing.T) {
	testkit.Root(t)
	below := apply(t, archive(t, "a=12345", "gone=1"))
	got, err := layer.Apply(t.TempDir(), bytes.NewReader(archive(t, "d/e/f=123", "b == a", ".wh.gone", ".wh.never")),
		layer.Options{Lower: []string{below}})
	// d, d/e, d/e/f; a copied up and b; the whiteout.
	if want := (layer.Summary{Bytes: 8, Inodes: 6}); got != want || err != nil {
		t.Errorf("got %+v, error %v; want %+v", got, err, want)
	}
}
