package main_test

import (
	"os/exec"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The tests of chapter 2 run the program as a reader would, and look at what
// it prints and at what it leaves.

// stage02 is the program with these arguments, not started yet.
func stage02(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return testkit.Command(t, args...)
}

// output runs cmd, which must succeed, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	return testkit.Output(t, cmd)
}

// probeRoot is a root file system with nothing in it but /probe.
func probeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	output(t, exec.Command("cp", testkit.Probe(t), root+"/probe"))
	return root
}
