package rootfs_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/rootfs/binfmt"
	"skiff.example/stage01-chroot/testkit"
)

// Without root. Started by root, these tests start themselves once more as
// nobody; an ordinary user runs them directly.

var isSecondStart = flag.Bool("as-nobody", false, "this is the test binary's second start, as an ordinary user")

// asNobody reports whether the test was run, and has ended, as another user.
func asNobody(t *testing.T) (done bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	if *isSecondStart {
		t.Fatal("still root")
	}
	testkit.HostUnchanged(t)
	dir, err := os.MkdirTemp("", "skiff-nobody-")
	must(t, err)
	defer os.RemoveAll(dir)
	const nobody = 65534
	must(t, os.Chown(dir, nobody, nobody))
	own, err := os.ReadFile("/proc/self/exe") // where it is, nobody may not go
	must(t, err)
	program := filepath.Join(dir, "tests")
	writeFile(t, program, string(own), 0o755)
	cmd := exec.Command(program, "-test.run=^"+t.Name()+"$", "-test.v", "-as-nobody")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return true
}

func TestAnOrdinaryUserMakesARootOfPrograms(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := write(t, plan(t, "sh", "ls"))
	if err := binfmt.Check(dir, "sh"); err != nil {
		t.Error(err)
	}
	wantOwn(t, dir)
}

func TestAnOrdinaryUserUnpacksTheArchiveOfAnother(t *testing.T) {
	if asNobody(t) {
		return
	}
	closed := dir("closed/") // nobody but root could make a file in it, if it were so at once
	closed.Mode, closed.Uid = 0o444, 4711
	inner := dir("closed/inner")
	inner.Mode = 0o711
	capable := file("closed/file", "x")
	capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.user.note": "mine"}
	readOnly := file("read-only", "x")
	readOnly.Mode, readOnly.PAXRecords = 0o444, capable.PAXRecords
	root := t.TempDir()
	must(t, rootfs.FromTar(root, archive(t, closed, inner, capable, readOnly)))
	for _, e := range []entry{closed, inner} {
		info, err := os.Stat(filepath.Join(root, e.Name))
		must(t, err)
		if int64(info.Mode().Perm()) != e.Mode {
			t.Errorf("%s has mode %v", e.Name, info.Mode())
		}
		must(t, os.Chmod(filepath.Join(root, e.Name), 0o755))
	}
	wantOwn(t, root)
	note := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(root, "read-only"), "user.note", note); err != nil || string(note[:n]) != "mine" {
		t.Errorf("the attribute is %q, %v", note, err)
	}
	err := rootfs.FromTar(root, archive(t, device("null", 1, 3)))
	wantError(t, err, unix.EPERM, `unpack "null": make node "null"`)
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
}

func TestAnOrdinaryUserCopiesATree(t *testing.T) {
	if asNobody(t) {
		return
	}
	source, target := tree(t), t.TempDir()
	must(t, rootfs.FromDirectory(target, source))
	if want, got := digest(t, source), digest(t, target); want != got {
		t.Errorf("they differ:\n%s", difference(t, want, got))
	}
	must(t, os.Chmod(filepath.Join(source, "usr/bin/hello"), 0))
	err := rootfs.FromDirectory(t.TempDir(), source)
	wantError(t, err, unix.EACCES, `file "usr/bin/hello": open "hello"`)
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
	for _, dir := range []string{source, target} {
		must(t, os.Chmod(filepath.Join(dir, "locked"), 0o755))
	}
}

// wantOwn fails unless all files are the caller's.
func wantOwn(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		must(t, err)
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			t.Errorf("%s belongs to %d", name, stat.Uid)
		}
		return nil
	}))
}
