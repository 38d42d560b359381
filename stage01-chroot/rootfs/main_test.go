package rootfs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/rootfs"
)

// What the tests of this package share.

// plan makes a closure of programs.
func plan(t *testing.T, programs ...string) *rootfs.Closure {
	t.Helper()
	closure, err := rootfs.FromPrograms(programs...)
	must(t, err)
	return closure
}

// write writes a closure into a new folder that others may enter.
func write(t *testing.T, closure *rootfs.Closure) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rootfs")
	must(t, closure.Write(dir))
	return dir
}

// runIn runs a program with dir as its root: chroot(2).
func runIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := &exec.Cmd{
		Path: args[0], Args: args, Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: dir},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s in its own root: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// names are the names in a closure.
func names(closure *rootfs.Closure) []string {
	var names []string
	for _, file := range closure.Files() {
		names = append(names, file.Name)
	}
	return names
}

// look returns where a program of this host is.
func look(t *testing.T, program string) string {
	t.Helper()
	found, err := exec.LookPath(program)
	must(t, err)
	return found
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails the test unless err is target and says all of texts.
func wantError(t *testing.T, err, target error, texts ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want one that is %v", err, target)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func writeFile(t testing.TB, name, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), mode))
}

func wantOneOf(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			return
		}
	}
	t.Errorf("got error %v, want one of %v", err, targets)
}

// output runs a program with a text as its input, and returns what it writes.
func output(t *testing.T, program, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return string(out)
}
