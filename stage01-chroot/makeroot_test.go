package main_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The three ways to make a root; how each works is tested in package rootfs.

func TestARootIsMadeFromProgramsOfTheHost(t *testing.T) {
	testkit.HostUnchanged(t)
	root := filepath.Join(t.TempDir(), "root")
	output(t, stage01(t, "root", root, "sh", "cat"))
	if got := output(t, stage01(t, "run", root, "sh", "-c", "echo $HOME | cat")); got != "/root\n" {
		t.Errorf("got %q", got)
	}
}

func TestARootIsMadeFromAnArchiveOrACopy(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "tar")
	folder := t.TempDir()
	output(t, exec.Command("tar", "-C", busyboxRoot(t), "-czf", folder+"/root.tar.gz", "."))
	output(t, stage01(t, "root", "--tar", folder+"/root.tar.gz", folder+"/unpacked"))
	output(t, stage01(t, "root", "--copy", folder+"/unpacked", folder+"/copied"))
	for _, root := range []string{"/unpacked", "/copied"} {
		got := output(t, stage01(t, "run", folder+root, "/bin/busybox", "ls", "/"))
		if got != "bin\ndev\nproc\nsys\n" {
			t.Errorf("%s: got %q", root, got)
		}
	}
}

// Each file of a planned root says why it is there.
func TestAPlannedRootIsExplainedAndNotMade(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	files := output(t, stage01(t, "root", "--plan", root, "sh"))
	for _, want := range []string{"etc/passwd (names of users)\n", "(program)\n"} {
		if !strings.Contains(files, want) {
			t.Errorf("got\n%swant %q in it", files, want)
		}
	}
	if found, err := filepath.Glob(root); err != nil || len(found) > 0 {
		t.Errorf("it was made: %v, %v", found, err)
	}
}
