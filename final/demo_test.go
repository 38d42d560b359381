package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// programs puts final and skiff beside each other, as make does.
func programs(t *testing.T) (final string) {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"skiff.example/final", "skiff.example/final/cmd/skiff"} {
		built := testkit.Build(t, pkg)
		if err := os.Link(built, filepath.Join(dir, filepath.Base(built))); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "final")
}

func TestDemo(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "sh", "bash", "ip", "ping", "hostname")
	var warnings strings.Builder
	cmd := exec.Command(programs(t), "demo")
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, warnings.String())
	}
	t.Logf("%s|||||%s", out, warnings.String())
}
