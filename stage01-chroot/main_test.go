package main_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// The tests of chapter 1 run the program as a reader would, and look at what
// it prints and at what it leaves.

// stage01 is the program with these arguments, not started yet.
func stage01(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testkit.Build(t, "."), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return cmd
}

// output runs cmd, which must succeed, and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args[1:], " "), err, out)
	}
	return string(out)
}

// probeRoot is a root file system with nothing in it but /probe.
func probeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	output(t, exec.Command("cp", testkit.Probe(t), root+"/probe"))
	return root
}
