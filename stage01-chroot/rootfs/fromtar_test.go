package rootfs_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// entry is one entry of an archive that a test writes.
type entry struct {
	tar.Header
	text string
}

func file(name, text string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, text}
}

func dir(name string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

func link(name, text string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: text, Mode: 0o777}}
}

func hardLink(name, old string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: old}}
}

func device(name string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Devmajor: major, Devminor: minor}}
}

func archive(t testing.TB, entries ...entry) *bytes.Buffer {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, e := range entries {
		must(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.text))
		must(t, err)
	}
	must(t, w.Close())
	return &buffer
}

// attacks of CVE-2021-32760, CVE-2025-47290, CVE-2021-29136 and others.
// Beside the root there is a file "secret", and OUTSIDE in a name or a link
// stands for the path of the folder of both. Whatever the archive is, only the
// root changes.
var attacks = []struct {
	attack  string
	entries []entry
	want    string // where the text "evil" is then, in the root; "" if nowhere
	refused error  // or the error
}{
	{"dot-dot in a name", []entry{file("../../secret", "evil")}, "secret", nil},
	{"an absolute name", []entry{file("OUTSIDE/secret", "evil")}, "OUTSIDE/secret", nil},
	{"a link to / and a file behind it", []entry{link("a", "/"), file("a/secret", "evil")}, "secret", nil},
	{"an absolute link out", []entry{link("a", "OUTSIDE"), file("a/secret", "evil")}, "OUTSIDE/secret", nil},
	{"a relative link out", []entry{link("a", ".."), file("a/secret", "evil")}, "secret", nil},
	{"a link out by another link", []entry{link("a", "b/.."), link("b", ".."), file("a/secret", "evil")}, "secret", nil},
	{"a file over a link", []entry{link("a", "OUTSIDE/secret"), file("a", "evil")}, "a", nil},
	{"a file over a hard link to a link", []entry{link("a", "OUTSIDE/secret"), hardLink("b", "a"), file("b", "evil")}, "b", nil},
	{"a hard link out", []entry{hardLink("a", "../../secret"), file("a", "evil")}, "", unix.ENOENT},
	{"a hard link out by a link", []entry{link("l", ".."), hardLink("a", "l/secret")}, "", unix.ENOENT},
	{"the root as a link", []entry{link("./", "OUTSIDE"), file("secret", "evil")}, "", unix.EISDIR},
	{"the root as a file", []entry{file("a/..", "evil")}, "", unix.EISDIR},
	{
		"a directory that becomes a link",
		[]entry{dir("a/"), file("a/x", "x"), link("a", "OUTSIDE"), file("a/secret", "evil"), dir("b/")},
		"OUTSIDE/secret", nil,
	},
	{
		"a link that becomes a directory",
		[]entry{link("a", "OUTSIDE"), dir("a/"), file("a/secret", "evil")},
		"a/secret", nil,
	},
	{"a link in a circle", []entry{link("a", "b"), link("b", "a"), file("a/x", "evil")}, "", unix.ELOOP},
	{"a name 10,000 deep", []entry{file(strings.Repeat("d/", 10_000)+"x", "evil")}, "", unix.ENAMETOOLONG},
	{"a file as a parent", []entry{file("a", "x"), file("a/b", "evil")}, "", unix.ENOTDIR},
	{"a hard link to a directory", []entry{dir("a"), hardLink("b", "a")}, "", unix.EPERM},
	{"a device number that the kernel cuts to 1:3", []entry{device("null", 4097, 3)}, "", unix.EINVAL},
}

func TestNothingIsMadeOutsideTheRoot(t *testing.T) {
	for _, c := range attacks {
		t.Run(c.attack, func(t *testing.T) {
			outside := t.TempDir()
			replace := strings.NewReplacer("OUTSIDE", outside).Replace
			entries := slices.Clone(c.entries)
			for i := range entries {
				entries[i].Name, entries[i].Linkname = replace(entries[i].Name), replace(entries[i].Linkname)
			}
			root := filepath.Join(outside, "root")
			must(t, os.Mkdir(root, 0o755))
			writeFile(t, filepath.Join(outside, "secret"), "good", 0o644)
			err := rootfs.FromTar(root, archive(t, entries...))
			if c.refused != nil {
				wantError(t, err, c.refused, "unpack ")
			} else {
				must(t, err)
			}
			if c.want != "" {
				if text, err := os.ReadFile(filepath.Join(root, replace(c.want))); string(text) != "evil" {
					t.Errorf("%s has %q, %v", c.want, text, err)
				}
			}
			wantUntouched(t, outside)
		})
	}
}

// 2^32 cut to 32 bits is root, and 2^32-1 means "do not change".
func TestAnOwnerThatTheKernelWouldMistakeIsRefused(t *testing.T) {
	testkit.Root(t)
	for _, id := range []int{-1, 1<<32 - 1, 1 << 32} {
		user, group := file("a", ""), file("a", "")
		user.Uid, group.Gid = id, id
		for _, e := range []entry{user, group} {
			e.Format = tar.FormatGNU // which can hold them all
			wantError(t, rootfs.FromTar(t.TempDir(), archive(t, e)), unix.EINVAL, `unpack "a": set owner `)
		}
	}
}

func TestEachRefusalNamesTheEntryAndTheReason(t *testing.T) {
	testkit.Root(t)
	var report strings.Builder
	for _, c := range attacks {
		if c.refused == nil {
			continue
		}
		err := rootfs.FromTar(t.TempDir(), archive(t, c.entries...))
		fmt.Fprintf(&report, "%s\n  %v\n", c.attack, err)
		if advice := hint.Of(err); advice != "" {
			fmt.Fprintf(&report, "  hint: %s\n", advice)
		}
	}
	testkit.Golden(t, report.String(), "fromtar.golden")
}

// wantUntouched fails unless a folder has "root" and "secret" as they were.
func wantUntouched(t *testing.T, outside string) {
	t.Helper()
	entries, err := os.ReadDir(outside)
	must(t, err)
	text, err := os.ReadFile(filepath.Join(outside, "secret"))
	must(t, err)
	if len(entries) != 2 || string(text) != "good" {
		t.Errorf("outside the root are now %v, and the secret is %q", entries, text)
	}
}

func TestAttributesAreSetAsGiven(t *testing.T) {
	testkit.HostUnchanged(t)
	root := t.TempDir()
	when := time.Unix(1234567890, 0)
	set := func(e entry, mode int64, uid int) entry {
		e.Mode, e.Uid, e.Gid, e.ModTime = mode, uid, uid+1, when
		return e
	}
	special := func(name string, kind byte, major, minor int64) entry {
		e := device(name, major, minor)
		e.Typeflag = kind
		return e
	}
	capable := set(file("d/capable", "x"), 0o755, 0)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_raw+ep
	capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": capability}
	must(t, rootfs.FromTar(root, archive(
		t,
		set(dir("d/"), 0o2750, 1), set(file("d/setuid", "x"), 0o6711, 100), set(link("d/link", "/nowhere"), 0o777, 200),
		set(special("d/null", tar.TypeChar, 1, 3), 0o666, 0), set(special("d/loop0", tar.TypeBlock, 7, 0), 0o660, 6),
		set(special("d/fifo", tar.TypeFifo, 0, 0), 0o622, 0), capable,
	)))
	for name, want := range map[string]struct {
		mode, uid uint32
		device    uint64
	}{
		"d": {unix.S_IFDIR | 0o2750, 1, 0}, "d/setuid": {unix.S_IFREG | 0o6711, 100, 0},
		"d/link": {unix.S_IFLNK | 0o777, 200, 0}, "d/null": {unix.S_IFCHR | 0o666, 0, unix.Mkdev(1, 3)},
		"d/loop0": {unix.S_IFBLK | 0o660, 6, unix.Mkdev(7, 0)}, "d/fifo": {unix.S_IFIFO | 0o622, 0, 0},
		"d/capable": {unix.S_IFREG | 0o755, 0, 0},
	} {
		var stat unix.Stat_t
		must(t, unix.Lstat(filepath.Join(root, name), &stat))
		if stat.Mode != want.mode || stat.Uid != want.uid || stat.Gid != want.uid+1 || stat.Rdev != want.device || stat.Mtim.Sec != when.Unix() {
			t.Errorf("%s: mode %o, owner %d:%d, device %#x, time %d", name, stat.Mode, stat.Uid, stat.Gid, stat.Rdev, stat.Mtim.Sec)
		}
	}
	got := make([]byte, len(capability))
	if _, err := unix.Getxattr(filepath.Join(root, "d/capable"), "security.capability", got); err != nil || string(got) != capability {
		t.Errorf("the file's capability is %x, %v", got, err)
	}
}

func TestALaterEntryReplacesAnEarlierOne(t *testing.T) {
	root := t.TempDir()
	must(t, rootfs.FromTar(root, archive(
		t,
		file("a", "1"), file("a", "2"), // file over file
		dir("b/"), file("b/x", ""), file("b", "3"), // file over directory
		dir("c/"), file("c/x", "4"), dir("c/"), // directory over directory: what is in it stays
		file("d", ""), dir("d/"), file("d/x", "5"), // directory over file
		file("e", "6"), hardLink("f", "e"), file("e", "7"), // the other name keeps the old text
	)))
	for name, want := range map[string]string{"a": "2", "b": "3", "c/x": "4", "d/x": "5", "e": "7", "f": "6"} {
		if text, err := os.ReadFile(filepath.Join(root, name)); string(text) != want {
			t.Errorf("%s has %q, %v, want %q", name, text, err, want)
		}
	}
}

func TestAnArchiveOfGNUTarIsUnpackedAsItDoes(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar", "diff", "sh", "ls")
	source, target := write(t, plan(t, "sh", "ls")), t.TempDir()
	writeFile(t, filepath.Join(source, "hole"), "end", 0o644)
	must(t, os.Truncate(filepath.Join(source, "hole"), 1<<20))
	must(t, os.Link(filepath.Join(source, "hole"), filepath.Join(source, "same")))
	packed, err := exec.Command("tar", "-C", source, "--create", "--sparse", "--format=gnu", "--file=-", ".").Output()
	must(t, err)
	must(t, rootfs.FromTar(target, bytes.NewReader(packed)))
	if out, err := exec.Command("diff", "--recursive", "--no-dereference", source, target).CombinedOutput(); err != nil {
		t.Errorf("they differ: %s", out)
	}
	wantSameModesAndTimes(t, source, target)
}

func wantSameModesAndTimes(t *testing.T, source, target string) {
	t.Helper()
	must(t, filepath.WalkDir(source, func(name string, _ fs.DirEntry, err error) error {
		must(t, err)
		rel, err := filepath.Rel(source, name)
		must(t, err)
		want, err := os.Lstat(name)
		must(t, err)
		got, err := os.Lstat(filepath.Join(target, rel))
		must(t, err)
		if got.Mode() != want.Mode() || got.ModTime().Unix() != want.ModTime().Unix() {
			t.Errorf("%s: %v %v, want %v %v", rel, got.Mode(), got.ModTime(), want.Mode(), want.ModTime())
		}
		return nil
	}))
}

func TestABrokenArchiveIsAnError(t *testing.T) {
	whole := archive(t, file("a", strings.Repeat("x", 2000))).Bytes()
	wantError(t, rootfs.FromTar(t.TempDir(), bytes.NewReader(whole[:1500])), io.ErrUnexpectedEOF, `unpack "a"`)
	wantError(t, rootfs.FromTar(t.TempDir(), strings.NewReader(strings.Repeat("no archive ", 100))), tar.ErrHeader, "read archive: ")
	wantError(t, rootfs.FromTar("/nowhere/at/all", nil), unix.ENOENT, `open root "/nowhere/at/all"`)
}
