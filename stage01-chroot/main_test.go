package main_test

import (
	"os/exec"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The tests of chapter 1 run the program as a reader would, and look at what
// it prints and at what it leaves.

// stage01 is the program with these arguments, not started yet.
func stage01(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return testkit.Command(t, args...)
}

// output runs cmd, which must succeed, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Output(t, cmd)
}

// probeRoot is a root file system with nothing in it but /probe, and
// directories to mount on.
func probeRoot(t *testing.T) string {
	t.Helper()
	root := emptyRoot(t)
	output(t, exec.Command("cp", testkit.Probe(t), root+"/probe"))
	return root
}

// busyboxRoot is a root file system with busybox under some of its names.
func busyboxRoot(t *testing.T) string {
	t.Helper()
	testkit.Need(t, "busybox")
	root := emptyRoot(t)
	const install = `mkdir bin; cp "$(command -v busybox)" bin/busybox
for name in cat grep head ls od sh stat touch true wc; do ln -s busybox bin/$name; done`
	cmd := exec.Command("sh", "-c", install)
	cmd.Dir = root
	output(t, cmd)
	return root
}

// emptyRoot has directories to mount on. What is mounted there, the end of the
// test unmounts.
func emptyRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	output(t, exec.Command("mkdir", root+"/dev", root+"/proc", root+"/sys"))
	t.Cleanup(func() { output(t, stage01(t, "clean", root)) })
	return root
}
