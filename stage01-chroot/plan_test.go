package main_test

import (
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// A plan needs no root, neither the user nor the directory.

func TestThePlanOfRun(t *testing.T) {
	testkit.Golden(t, output(t, stage01(t, "plan", "/srv/root", "/bin/ls", "-l", "/")), "plan.golden")
}

func TestThePlanOfEscape(t *testing.T) {
	testkit.Golden(t, output(t, stage01(t, "escape", "--plan", "/bin/sh")), "escape.golden")
}
