package main_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// An engine may make the cgroup itself, and use it for one container after the
// other. When the first ends, its group is killed; the kernel must not take that
// for a sentence on all who are born there later.
func TestAGroupThatWasKilledOnceCanBeUsedAgain(t *testing.T) {
	testkit.HostUnchangedAsInit(t)
	hierarchies, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if hierarchies.V2 == nil {
		t.Skip("this machine has no v2 hierarchy")
	}
	dir := filepath.Join(hierarchies.V2.MountPoint, "skiff-test-used")
	b := newBundle(t, program("sleep", "1000"), func(s *specs.Spec) { s.Linux.CgroupsPath = "/skiff-test-used" })
	b.must(os.Mkdir(dir, 0o755))
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	b.must(os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0))
	for range 2 {
		b.succeed("run", "--detach", "--bundle", b.dir, b.id)
		b.succeed("exec", b.id, "true")
		procs := b.read(filepath.Join(dir, "cgroup.procs"))
		if procs == "" {
			t.Error("the container is not in its group")
		}
		b.succeed("delete", "--force", b.id)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Error("the engine's group was removed")
	}
	b.wantNothing()
}
