package oci

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/launch"
)

// Points of the checklist of what OCI runtimes get wrong, each as a test with the
// point's number. Those that a container must feel are in cmd/skiff-oci; a point
// whose subject has a package of its own (seccomp, cgroups) is tested there.

// The first try is for a folder where the user may not go: the process is still root.
// The second is for one where root may not go: a FUSE file system of the user's, or
// here root without the capability that opens it all doors.
func TestMust14TheWorkingDirectoryIsEnteredBeforeAndAfterTheChangeOfUser(t *testing.T) {
	testkit.HostUnchanged(t)
	const user = 1000
	root, err := os.MkdirTemp("", "cwd-") // not TempDir: its parents are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	for name, owner := range map[string]int{"roots": 0, "users": user, "others": user + 1} {
		dir := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "mark"), 0o755), os.Chmod(dir, 0o700), os.Chown(dir, owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]error{"/roots": nil, "/users": nil, "/users/mark": nil, "/others": unix.EACCES} {
		p := &plan.Plan{}
		before, after := changeDirectory(p, dir)
		p.Add(
			plan.Chdir(root),
			plan.Capset(plan.Capabilities{Effective: 1 << unix.CAP_SETUID, Permitted: 1 << unix.CAP_SETUID}),
		)
		p.Add(before...)
		p.Add(plan.Setresuid(user))
		p.Add(after...)
		p.Add(plan.Exit(0))
		process, err := launch.Start(p, launch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = process.Wait()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", dir, err, want)
		}
		if err := process.Close(); err != nil {
			t.Error(err)
		}
	}
}
