package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage04-overlay/internal/mounttest"
	"skiff.example/stage04-overlay/overlay"
)

// One unpacked image, and two containers with different ids: each one finds the
// owners that the image says, as seen with its own ids, and what it writes has the
// image's ids on disk. Nothing of the image is changed or copied for it.
func TestOneImageServesContainersWithIDsOfTheirOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	image, above := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(image), 0o755); err != nil { // others must get there
		t.Fatal(err)
	}
	for name, id := range map[string]int{"root": 0, "user": 1000, "nobody": 70000} {
		write(t, image+"/"+name, name)
		if err := os.Chown(image+"/"+name, id, id+1); err != nil {
			t.Fatal(err)
		}
	}
	write(t, above+"/above", "")
	for _, first := range []uint32{100_000, 900_000} {
		stack, err := overlay.Prepare(t.TempDir(), []string{above, image})
		if err != nil {
			t.Fatal(err)
		}
		ids := []specs.LinuxIDMapping{{HostID: first, Size: 65536}}
		layers, err := stack.IDMapped(ids, ids)
		if err != nil {
			t.Fatal(err)
		}
		defer layers.Close()
		mounttest.Private(t, func() {
			root := mounttest.Mount(t, t.TempDir(), func(p *plan.Plan, target string) error {
				overlay.Attach(p, layers, target)
				return nil
			})
			owned(t, root+"/root", first, first+1)
			owned(t, root+"/user", first+1000, first+1001)
			owned(t, root+"/above", first, first)
			owned(t, root+"/nobody", 65534, 65534) // it is beyond the map
			as(t, first, "echo more >> "+root+"/root; echo new > "+root+"/new; rm "+root+"/user")
			is(t, root, "above=", "new=new\n", "nobody=nobody", "root=rootmore\n")
		})
		is(t, stack.Upper, "new=new\n", "root=rootmore\n", "user is a whiteout")
		owned(t, stack.Upper+"/root", 0, 1)
		owned(t, stack.Upper+"/new", 0, 0)
		owned(t, image+"/user", 1000, 1001)
	}
}

// owned compares the owner of a file.
func owned(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(st.Uid, " ", st.Gid), fmt.Sprint(uid, " ", gid); got != want {
		t.Errorf("%s belongs to %s, want %s", path, got, want)
	}
}

// as runs a line of the shell as somebody who has no rights but his own.
func as(t *testing.T, id uint32, line string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", line)
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// What the kernel cannot map is an error, and no container with wrong owners.
func TestLayersThatCannotBeMapped(t *testing.T) {
	testkit.HostUnchanged(t)
	ids := []specs.LinuxIDMapping{{HostID: 100_000, Size: 65536}}
	stack := overlay.Stack{Lower: []string{"/proc/sys/kernel", t.TempDir()}}
	_, err := stack.IDMapped(ids, ids)
	var failed *plan.Error
	if !errors.As(err, &failed) || !errors.Is(err, unix.EINVAL) || failed.Step.What() != `id-map layer "/proc/sys/kernel"` {
		t.Errorf("got %v", err)
	}
}
