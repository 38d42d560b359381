package main_test

import (
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// A plan needs no root, neither the user nor the directory.
func TestThePlan(t *testing.T) {
	testkit.Golden(t, output(t, stage02(t, "plan", "--hostname", "box", "/srv/root", "/bin/ls", "-l", "/")), "plan.golden")
}
