package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// What an ordinary user can do: all but call chroot(2).

// asUser makes cmd run as nobody, if we are root; else we are a user already.
func asUser(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// usersFolder is a folder in which that user may write.
func usersFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, dir := range []string{filepath.Dir(folder), folder} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAUserMakesARootAndPrintsPlans(t *testing.T) {
	root := usersFolder(t) + "/root"
	output(t, asUser(stage01(t, "root", root, "sh", "cat")))
	plan := output(t, asUser(stage01(t, "plan", "--proc", root, "sh")))
	if want := `chroot("` + root + `")`; !strings.Contains(plan, want) {
		t.Errorf("got\n%swant %s in it", plan, want)
	}
	if files := output(t, asUser(stage01(t, "root", "--plan", root, "sh"))); !strings.Contains(files, "etc/passwd") {
		t.Errorf("got\n%s", files)
	}
}

func TestChangingTheRootNeedsRoot(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{{"run", "/", "/bin/sh"}, {"escape", "/bin/sh"}, {"demo"}} {
		cmd := asUser(stage01(t, args...))
		cmd.Dir = usersFolder(t)
		all.WriteString(mistake(t, cmd))
	}
	testkit.Golden(t, all.String(), "unprivileged.golden")
}
