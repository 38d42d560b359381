package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
)

// The tests of chapter 4 run the program as a reader would, and look at what
// it prints, at the directories of the layers, and at what it leaves.

// stage04 is the program with these arguments, not started yet. Its journals
// are in the folder state.
func stage04(t *testing.T, state string, args ...string) *exec.Cmd {
	t.Helper()
	return testkit.Command(t, append([]string{"--state", state}, args...)...)
}

// stateDir is where a test's containers keep their journals. In the end nothing
// may be there.
func stateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder of journals is there (error %v)", err)
		}
	})
	return dir
}

// output runs cmd, which must succeed, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Output(t, cmd)
}

// newLayers are two layers, topmost first, as --lower takes them: a file in
// /srv, and below it a shell, a few commands and /probe.
func newLayers(t *testing.T) string {
	t.Helper()
	closure, err := rootfs.FromPrograms("sh", "ls", "cat", "rm", "sleep", "mkdir", "chmod")
	if err != nil {
		t.Fatal(err)
	}
	closure.Add(rootfs.File{Name: "probe", Mode: 0o755, Source: testkit.Probe(t), Why: "the test"})
	closure.Add(rootfs.File{Name: "srv/notes", Mode: 0o644, Data: []byte("of the base\n"), Why: "the test"})
	dir := t.TempDir()
	base, top := dir+"/base", dir+"/top"
	if err := errors.Join(closure.Write(base), os.MkdirAll(top+"/srv", 0o755),
		os.WriteFile(top+"/srv/greeting", []byte("hello\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return top + ":" + base
}

// tree lists all that is in the layers, with sizes, modes and times to the
// nanosecond.
func tree(t *testing.T, lower string) string {
	t.Helper()
	args := append(strings.Split(lower, ":"), "-printf", "%p %s %m %U %G %T+ %C+\n")
	return output(t, exec.Command("find", args...))
}
