package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// Containers for which the layers come in another way: without root, with ids of
// their own, as a copy; and a writable layer that is used again.

// asUser makes cmd run as nobody.
func asUser(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// open lets other users into a test's folder.
func open(t *testing.T, dir string) string {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An ordinary user has layers of his own, runs containers on them, and makes new
// ones: the marks of deletion are in attributes that he may set. What overlayfs
// leaves, a directory that is closed even to its owner, goes.
func TestWithoutRoot(t *testing.T) {
	testkit.HostUnchanged(t)
	dir := open(t, t.TempDir())
	lower := newLayers(t)
	output(t, exec.Command("cp", append([]string{"-r", "-t", dir}, strings.Split(lower, ":")...)...))
	output(t, exec.Command("chown", "-R", "65534:65534", dir))
	command := func(args ...string) *exec.Cmd {
		cmd := asUser(stage04(t, dir+"/state", args...))
		cmd.Dir = dir
		return cmd
	}
	user := func(args ...string) string {
		t.Helper()
		return output(t, command(args...))
	}
	got := user("run", "--lower", "top:base", "--writable", "alice",
		"sh", "-c", "cd /srv; rm -r /probe notes; echo changed > greeting; mkdir /probe; echo *; cat /proc/self/uid_map")
	if want := "greeting\n         0      65534          1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := user("diff", "alice"), "./\nprobe/\nprobe/.wh..wh..opq\nsrv/\nsrv/.wh.notes\nsrv/greeting\n"; got != want {
		t.Errorf("diff is %q, want %q", got, want)
	}
	// The owners in a layer are not his to give away, unless he is root somewhere.
	if out, err := command("commit", "alice", "new").CombinedOutput(); err == nil || !strings.Contains(string(out), "unshare -r") {
		t.Errorf("commit: %v: %s", err, out)
	}
	root := command("commit", "alice", "new")
	root.Path, root.Args = "/usr/bin/unshare", append([]string{"unshare", "-r"}, root.Args...)
	output(t, root)
	got = user("run", "--lower", "new:top:base", "sh", "-c", "cat /srv/*; ls /probe")
	want := "changed\n"
	if got != want {
		t.Errorf("on the new layer there is %q, want %q", got, want)
	}
	if copied := user("run", "--copy", "--lower", "new:top:base", "sh", "-c", "cat /srv/*; ls /probe"); !strings.HasSuffix(copied, "\n"+want) {
		t.Errorf("in a copy there is %q, want %q", copied, want)
	}
	user("run", "--lower", "top:base", "sh", "-c", "mkdir -p /a/b; chmod 0 /a")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("there are %v, error %v; want alice, base, new and top", left, err)
	}
}

// One unpacked image serves containers whose root is not the host's, and who owns
// what in it is as the image says.
func TestIDsOfItsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	state, lower, dir := stateDir(t), newLayers(t), t.TempDir()
	if err := os.Chown(strings.Split(lower, ":")[0]+"/srv/greeting", 1000, 1000); err != nil {
		t.Fatal(err)
	}
	before := tree(t, lower)
	got := output(t, stage04(t, state, "run", "--lower", lower, "--ids", "100000", "--writable", dir+"/a",
		"sh", "-c", "ls -n /srv | while read -r mode links user rest; do echo $user; done; cat /proc/self/uid_map; echo x > /srv/new"))
	if want := "\n1000\n0\n         0     100000      65536\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := output(t, exec.Command("stat", "-c", "%u:%g", dir+"/a/upper/srv/new")); got != "0:0\n" {
		t.Errorf("what it has written belongs to %s, want 0:0", got)
	}
	if after := tree(t, lower); after != before {
		t.Errorf("the layers were\n%sand are\n%s", before, after)
	}
}

// Where overlayfs refuses the file system of the writable layer, here because it is
// an overlay itself as in most containers, there is a copy, and a word about it.
func TestACopyWhereOverlayfsIsRefused(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "unshare", "mount")
	dir, lower := t.TempDir(), newLayers(t)
	run := stage04(t, dir+"/merged/state", "run", "--lower", lower, "--writable", dir+"/merged/a",
		"sh", "-c", "cd /srv; cat greeting notes; rm notes")
	script := `cd "$0"; mkdir a b c merged; mount -t overlay overlay -o lowerdir=a,upperdir=b,workdir=c merged; "$@"; "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-ec", script, dir}, run.Args...)...)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"overlayfs is refused: ", "a copy of all layers, ", "hello\nof the base\n", "notes: No such file"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in it (%v):\n%s", want, err, out)
		}
	}
	if n := strings.Count(string(out), "a copy of all layers"); n != 1 {
		t.Errorf("it was copied %d times, want once:\n%s", n, out)
	}
}

// A writable layer that was kept goes on; two containers at once may not have it.
func TestAWritableLayerIsUsedAgainAndByOne(t *testing.T) {
	testkit.HostUnchanged(t)
	state, lower, dir := stateDir(t), newLayers(t), t.TempDir()
	line := "echo x >> /srv/list; cat /srv/list"
	for _, want := range []string{"x\n", "x\nx\n"} {
		if got := output(t, stage04(t, state, "run", "--lower", lower, "--writable", dir+"/a", "sh", "-c", line)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	cmd := stage04(t, state, "run", "--name", "first", "--lower", lower, "--writable", dir+"/a", "sh", "-c", "echo; exec sleep 60")
	wait := started(t, cmd)
	out, err := stage04(t, state, "run", "--lower", lower, "--writable", dir+"/a", "sh", "-c", ":").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another container uses it") {
		t.Errorf("a second one: %v, %s", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	wait()
}
