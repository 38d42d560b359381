package main_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// skiff-oci as an ordinary user, with the bundle that `runc spec --rootless`
// writes: a user namespace with one id.

// nobody is the id of an ordinary user, who has no range of other ids.
const nobody = 65534

// ids are the owner and the group of a file.
func ids(info fs.FileInfo) (uid, gid uint32) {
	s := info.Sys().(*syscall.Stat_t)
	return s.Uid, s.Gid
}

// asNobody is command for an ordinary user, who gets a program and a state folder
// that he can reach.
func (b *bundle) asNobody(args ...string) *exec.Cmd {
	b.Helper()
	folder, err := os.MkdirTemp("", "nobody-") // not TempDir: its parents are root's alone
	b.must(err)
	b.Cleanup(func() { b.must(os.RemoveAll(folder)) })
	b.must(os.Chown(folder, nobody, nobody))
	b.must(exec.Command("install", "-m", "755", b.command().Path, folder+"/skiff-oci").Run())
	cmd := exec.Command(folder+"/skiff-oci", append([]string{"--root", folder + "/state"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

func TestTheRootlessBundleRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	b.must(os.Remove(b.config()))
	spec := exec.Command("runc", "spec", "--rootless", "--bundle", b.dir)
	spec.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	b.must(os.Chown(b.dir, nobody, nobody))
	b.reachable()
	b.must(os.Chown(b.path("."), nobody, nobody))
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("runc spec --rootless: %v\n%s", err, out)
	}
	b.edit(program("sh", "-c", "busybox id -u; busybox hostname; echo $$; echo x > /dev/null && echo null"), func(s *specs.Spec) { s.Hostname = "box" })
	log := filepath.Join(b.dir, "log")
	r := b.finish(b.asNobody("--debug", "--log", log, "run", "--bundle", b.dir, b.id))
	if r.status != 0 || r.out != "0\nbox\n1\nnull\n" {
		t.Errorf("status %d, printed %q\n%s", r.status, r.out, r.err)
	}
	if text := b.read(log); strings.Count(text, "\n") != 1 { // though the program starts twice: CVE-2019-5736
		t.Errorf("the log has\n%s", text)
	}
}

// Our own `spec --rootless` is as good as runc's: an ordinary user runs it.
func TestOurRootlessSpecRuns(t *testing.T) {
	testkit.HostUnchanged(t)
	b := newBundle(t)
	b.must(os.Remove(b.config()))
	b.must(os.Chown(b.dir, nobody, nobody))
	b.reachable()
	b.must(os.Chown(b.path("."), nobody, nobody))
	if r := b.finish(b.asNobody("spec", "--rootless", "--bundle", b.dir)); r.status != 0 {
		t.Fatal(r.err)
	}
	b.edit(program("sh", "-c", "busybox id -u; busybox test -d /sys/class && echo sys; busybox ls -d /dev/pts/ptmx"))
	r := b.finish(b.asNobody("run", "--bundle", b.dir, b.id))
	if r.status != 0 || r.out != "0\nsys\n/dev/pts/ptmx\n" {
		t.Errorf("status %d, printed %q\n%s", r.status, r.out, r.err)
	}
}

// exec as an ordinary user, who owns the container's user namespace.
func TestARootlessExec(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	b := newBundle(t)
	b.must(os.Remove(b.config()))
	b.must(os.Chown(b.dir, nobody, nobody))
	b.reachable()
	b.must(os.Chown(b.path("."), nobody, nobody))
	spec := b.asNobody("spec", "--rootless", "--bundle", b.dir)
	as := func(args ...string) result { // one state folder for all of them
		b.Helper()
		cmd := exec.Command(spec.Path, append(append([]string{}, spec.Args[1:3]...), args...)...)
		cmd.SysProcAttr = spec.SysProcAttr
		return b.finish(cmd)
	}
	if r := as("spec", "--rootless", "--bundle", b.dir); r.status != 0 {
		t.Fatal(r.err)
	}
	b.edit(program("sleep", "1000"))
	if r := as("run", "--detach", "--bundle", b.dir, b.id); r.status != 0 {
		t.Fatal(r.err)
	}
	defer as("delete", "--force", b.id)
	if r := as("exec", b.id, "sh", "-c", "busybox id -u; busybox cat /proc/self/uid_map; exit 5"); r.status != 5 || strings.Join(strings.Fields(r.out), " ") != "0 0 65534 1" {
		t.Errorf("status %d, printed %q\n%s", r.status, r.out, r.err)
	}
	if r := as("pause", b.id); r.status != 1 || !strings.Contains(r.err, "has no cgroup of its own") {
		t.Errorf("pause: status %d, %s", r.status, r.err)
	}
}

// CVE-2023-25809: groups that were delegated to the user are not the container's to
// change.
func TestARootlessContainerCannotChangeTheUsersGroups(t *testing.T) {
	testkit.HostUnchanged(t)
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	group, err := hierarchies.New("/skiff-test-delegated")
	if err != nil {
		t.Fatal(err)
	}
	b := newBundle(t)
	b.must(group.Create(nil))
	t.Cleanup(func() { b.must(group.Delete()) })
	for _, dir := range group.Paths() {
		b.must(os.Chown(dir, nobody, nobody))
	}
	b.must(os.Chown(b.dir, nobody, nobody))
	b.reachable()
	b.must(os.Chown(b.path("."), nobody, nobody))
	for _, spec := range []*exec.Cmd{exec.Command("runc", "spec", "--rootless", "--bundle", b.dir), b.asNobody("spec", "--rootless", "--bundle", b.dir)} {
		b.must(os.Remove(b.config()))
		spec.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if r := b.finish(spec); r.status != 0 {
			t.Fatal(r.err)
		}
		b.edit(program("sh", "-c", "for d in $(busybox find /sys/fs/cgroup -name skiff-test-delegated); do busybox mkdir $d/mine && echo made; done; echo tried"))
		if r := b.finish(b.asNobody("run", "--bundle", b.dir, b.id)); r.out != "tried\n" {
			t.Errorf("%q: status %d, %s%s", spec.Args, r.status, r.out, r.err)
		}
	}
}
