package rootfs_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

func TestProgramsOfTheHostRunInARootOfTheirOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh", "ls", "id", "ip", "ping", "busybox")
	dir := write(t, plan(t, "sh", "ls", "id", "ip", "ping", "busybox"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"/bin/sh", "-c", "echo $((40 + 2))"}, "42\n"},
		{[]string{look(t, "ls"), "/root", "/proc"}, "/proc:\n\n/root:\n"},
		{[]string{look(t, "id")}, "uid=0(root) gid=0(root) groups=0(root)"},
		{[]string{look(t, "ip"), "-oneline", "link", "show", "lo"}, "1: lo: <"},
		{[]string{look(t, "ping"), "-V"}, "ping from"},
		{[]string{look(t, "busybox"), "stat", "-c", "%a %U", "/tmp"}, "1777 root\n"},
	} {
		if got := runIn(t, dir, c.args...); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s said %q, want %q", strings.Join(c.args, " "), got, c.want)
		}
	}
}

// ldd asks the real ld.so. Its lines are "name => path (address)", or "path
// (address)" for the interpreter and for libraries needed by path.
func TestTheLibrariesAreThoseThatLddFinds(t *testing.T) {
	testkit.Need(t, "ldd", "sh", "ls", "ip", "ping", "mount")
	for _, program := range []string{"sh", "ls", "ip", "ping", "mount"} {
		out, err := exec.Command("ldd", look(t, program)).Output()
		must(t, err)
		want := map[string]bool{}
		for _, word := range strings.Fields(string(out)) {
			if strings.HasPrefix(word, "/") {
				real, err := filepath.EvalSymlinks(word)
				must(t, err)
				want[real] = true
			}
		}
		for _, file := range plan(t, program).Files() {
			if strings.Contains(filepath.Base(file.Source), ".so") && !want[file.Source] {
				t.Errorf("%s: %s is in the closure, and ldd has not found it", program, file.Source)
			}
			delete(want, file.Source)
		}
		if len(want) > 0 {
			t.Errorf("%s: ldd has found %v, which are not in the closure", program, want)
		}
	}
}

func TestAStaticProgramNeedsNothing(t *testing.T) {
	without, with := names(plan(t)), names(plan(t, testkit.Probe(t)))
	more := slices.DeleteFunc(with, func(name string) bool { return slices.Contains(without, name) })
	for _, name := range more {
		if !strings.Contains(testkit.Probe(t), name) {
			t.Errorf("%s was added for a static program", name)
		}
	}
}

func TestLinksOnTheWayToAProgramStayLinks(t *testing.T) {
	folder := t.TempDir()
	must(t, os.Symlink(testkit.Probe(t), filepath.Join(folder, "absolute")))
	must(t, os.Symlink("absolute", filepath.Join(folder, "relative")))
	must(t, os.Symlink(".", filepath.Join(folder, "here")))
	dir := write(t, plan(t, filepath.Join(folder, "here", "relative")))
	for name, want := range map[string]string{
		"absolute": testkit.Probe(t), "relative": "absolute", "here": ".",
	} {
		if got, err := os.Readlink(filepath.Join(dir, folder, name)); got != want {
			t.Errorf("%s leads to %q (%v), want %q", name, got, err, want)
		}
	}
}

func TestTheSamePlanGivesTheSameBytes(t *testing.T) {
	testkit.Need(t, "sh", "tar")
	var first, second bytes.Buffer
	must(t, plan(t, "sh").Tar(&first))
	must(t, plan(t, "sh", "sh").Tar(&second))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the archives differ")
	}
	cmd := exec.Command("tar", "--list", "--verbose", "--numeric-owner", "--utc", "--full-time")
	cmd.Stdin = &first
	out, err := cmd.Output()
	must(t, err)
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, " 0/0 ") || !strings.Contains(line, " 1970-01-01 00:00:00 ") {
			t.Errorf("GNU tar reads an owner other than 0 or a time other than 0: %s", line)
		}
	}
}

func TestTheTimeCanBeChosen(t *testing.T) {
	closure := plan(t)
	closure.ModTime = time.Unix(1234567890, 0)
	dir := write(t, closure)
	must(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		must(t, err)
		info, err := entry.Info()
		must(t, err)
		if name != dir && !info.ModTime().Equal(closure.ModTime) {
			t.Errorf("%s has time %v", name, info.ModTime())
		}
		return nil
	}))
}

func TestFilesCanBeAdded(t *testing.T) {
	var closure rootfs.Closure
	closure.Add(rootfs.File{Name: "/etc/motd", Mode: 0o640, Data: []byte("hello\n"), Why: "greeting"})
	closure.Add(rootfs.File{Name: "etc/link", Mode: fs.ModeSymlink | 0o777, Link: "motd", Why: "as well"})
	want := []string{"drwxr-xr-x etc (greeting)", "Lrwxrwxrwx etc/link -> motd (as well)", "-rw-r----- etc/motd (greeting)"}
	var got []string
	for _, file := range closure.Files() {
		got = append(got, file.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the plan is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	dir := write(t, &closure)
	if text, err := os.ReadFile(filepath.Join(dir, "etc/link")); string(text) != "hello\n" {
		t.Errorf("etc/link reads %q, %v", text, err)
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	_, err := rootfs.FromPrograms("no-such-program")
	wantError(t, err, exec.ErrNotFound, `"no-such-program"`)
	if hint.Of(err) == "" {
		t.Error("no hint")
	}
}
