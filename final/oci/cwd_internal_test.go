package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// enter runs a process in root that changes to a working directory and then
// looks for a folder there.
func enter(t *testing.T, root, dir, look string) error {
	t.Helper()
	p := &plan.Plan{}
	p.Add(plan.Chdir(root))
	before, after := changeDirectory(p, dir)
	p.Add(before...)
	p.Add(after...)
	p.Add(plan.Faccessat2(plan.CWD, look), plan.Exit(0))
	process, err := launch.Start(p, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = process.Wait()
	return errors.Join(err, process.Close())
}

func TestTheWorkingDirectoryIsInTheRoot(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Join(root, "srv/www/mark"), filepath.Join(root, "top"), filepath.Join(outside, "mark")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"www": "/srv/www", "out": outside, "up": "../../../../../../.."} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir, look string
		want      error
	}{
		{"/", "top", nil},
		{"/srv/www", "mark", nil},
		{"/www", "mark", nil}, // an absolute link begins at the container's root
		{"/up", "top", nil},   // above the root is the root
		{"/../..", "top", nil},
		{"/out", "mark", unix.ENOENT},
		{"/missing", ".", unix.ENOENT},
	} {
		t.Run(c.dir, func(t *testing.T) {
			if err := enter(t, root, c.dir, c.look); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// CVE-2024-21626: a descriptor that the parent has left open leads out of the
// container through /proc/self/fd.
func TestADescriptorIsNoWorkingDirectory(t *testing.T) {
	left, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	for _, dir := range []string{fmt.Sprintf("/proc/self/fd/%d", left.Fd()), "/proc/self/cwd", "/proc/self/root"} {
		if err := enter(t, "/", dir, "."); !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s: got %v, want %v", dir, err, unix.ELOOP)
		}
	}
}
