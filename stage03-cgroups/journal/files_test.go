// The undoers that every stage needs: what they remove, and what they refuse.

package journal_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/journal"
)

// run runs a shell script of the host, or fails the test.
func run(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v: %s", script, err, out)
	}
	return string(out)
}

func TestUndoingWhatWasNeverMadeIsASuccess(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent", "below")
	for kind, undo := range journal.Files() {
		if err := undo([]string{absent}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestPathsThatNoJournalWouldSayAreRefused(t *testing.T) {
	for kind, undo := range journal.Files() {
		for _, path := range []string{"", ".", "relative/path", "/", "//", "/tmp/../etc", "/tmp/"} {
			if err := undo([]string{path}); !errors.Is(err, unix.EINVAL) {
				t.Errorf("%s %q: %v, want %v", kind, path, err, unix.EINVAL)
			}
		}
	}
}

// What a journal says it said when there was no link on the way. RemoveAll is
// called by who knows what he means.
func TestUndoersFollowNoLinkOnTheWay(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	run(t, "cd "+dir+`; mkdir -p victim/empty victim/data state; ln -s ../victim state/rootfs
		mount -t tmpfs tmpfs victim/data; touch victim/data/kept`)
	t.Cleanup(func() { run(t, "umount "+dir+"/victim/data") })
	for kind, name := range map[string]string{"rmdir": "empty", "remove-all": "empty", "umount": "data"} {
		path := filepath.Join(dir, "state/rootfs", name)
		err := journal.Files()[kind]([]string{path})
		if !errors.Is(err, unix.ELOOP) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %v", kind, err, unix.ELOOP)
		}
	}
	run(t, "cd "+dir+"/victim; test -e data/kept; rmdir empty; mkdir empty")
	if err := journal.RemoveAll(filepath.Join(dir, "state/rootfs/empty")); err != nil {
		t.Error(err)
	}
	run(t, "cd "+dir+"/victim; ! test -e empty")
}

// A mount on a file is undone as one on a folder, and a link at the end is
// nothing that one could unmount: its mount stays.
func TestUmountOfFilesAndLinks(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	run(t, "cd "+dir+"; touch file; mkdir mounted; ln -s mounted link; mount --bind /etc/hostname file; mount -t tmpfs tmpfs mounted")
	umount := journal.Files()["umount"]
	t.Cleanup(func() { umount([]string{dir + "/file", dir + "/mounted"}) })
	for _, step := range []struct{ name, left string }{{"link", "2"}, {"file", "1"}, {"mounted", "0"}} {
		if err := umount([]string{filepath.Join(dir, step.name)}); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := strings.TrimSpace(run(t, "grep -c ' "+dir+"/' /proc/self/mountinfo || true")); got != step.left {
			t.Errorf("%s: %s mounts are left, want %s", step.name, got, step.left)
		}
	}
}

func TestRmdirWantsAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	run(t, "cd "+dir+"; mkdir -p full/of/things empty")
	rmdir := journal.Files()["rmdir"]
	if err := rmdir([]string{filepath.Join(dir, "empty")}); err != nil {
		t.Error(err)
	}
	if err := rmdir([]string{filepath.Join(dir, "full")}); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("error %v, want %v", err, unix.ENOTEMPTY)
	}
	if got := strings.TrimSpace(run(t, "ls "+dir)); got != "full" {
		t.Errorf("left: %q, want full", got)
	}
}

func TestRemoveAllFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	run(t, "cd "+dir+`
		mkdir -p precious state/a/b; echo keep > precious/file
		ln -s ../precious state/link; ln -s `+dir+`/precious state/a/b/link
		ln precious/file state/a/hard; mkfifo state/pipe; ln -s precious link`)
	for _, name := range []string{"state", "link"} {
		if err := journal.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if got := run(t, "cd "+dir+"; find . | sort | tr '\\n' ' '; cat precious/file"); got != ". ./precious ./precious/file keep\n" {
		t.Errorf("left: %q", got)
	}
}

// A container can make its tree deeper than any path name may be long.
func TestRemoveAllOfADeepTree(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range 3000 {
		if err == nil {
			err = unix.Mkdirat(fd, "deep", 0o700)
		}
		parent := fd
		if err == nil {
			fd, err = unix.Openat(parent, "deep", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(parent)
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)

	if err := journal.RemoveAll(filepath.Join(dir, "deep")); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// While something is still mounted in a state folder, deleting through the
// mount would delete somebody else's files.
func TestRemoveAllNeverEntersAMount(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	state, file := filepath.Join(dir, "state"), filepath.Join(dir, "precious/file")
	run(t, "cd "+dir+`; mkdir -p precious state/merged state/top; echo keep > precious/file
		mount --bind precious state/merged; mount -t tmpfs tmpfs state/top; touch state/top/kept`)
	umount := journal.Files()["umount"]
	t.Cleanup(func() { umount([]string{state + "/merged", state + "/top"}) })

	for _, path := range []string{state, state + "/merged", state + "/top"} {
		if err := journal.RemoveAll(path); !errors.Is(err, unix.EXDEV) {
			t.Errorf("%s: error %v, want %v", path, err, unix.EXDEV)
		}
	}
	run(t, "test -e "+file+" && test -e "+state+"/top/kept")

	for range 2 { // not mounted is fine
		if err := umount([]string{state + "/merged", state + "/top"}); err != nil {
			t.Error(err)
		}
	}
	if err := journal.RemoveAll(state); err != nil {
		t.Error(err)
	}
	if got := strings.TrimSpace(run(t, "cat "+file+"; ls "+dir)); got != "keep\nprecious" {
		t.Errorf("left: %q", got)
	}
}

// A lazy unmount succeeds while a process stands in the mount.
func TestUmountOfABusyMount(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := t.TempDir()
	run(t, "mount -t tmpfs tmpfs "+dir)
	stand, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stand.Close()
	if err := journal.Files()["umount"]([]string{dir}); err != nil {
		t.Error(err)
	}
	if got := run(t, "grep -c ' "+dir+" ' /proc/self/mountinfo || true"); got != "0\n" {
		t.Errorf("still mounted %s times", got)
	}
}
