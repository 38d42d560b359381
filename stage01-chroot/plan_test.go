package main_test

import (
	"testing"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/testkit"
)

// A plan needs no privileges, and no root file system either, where the command
// is a path. One without a slash is looked up in the root.

func TestThePlanOfRun(t *testing.T) {
	testkit.Golden(t, output(t, stage01(t, "plan", "/srv/root", "/bin/ls", "-l", "/")), "plan.golden")
}

func TestThePlanOfRunWithDevProcAndSys(t *testing.T) {
	all := output(t, stage01(t, "plan", "--sys", "--dev", "--proc", "/srv/root", "/bin/sh"))
	testkit.Golden(t, all, "plan-kernelfiles.golden")
}

func TestThePlansOfTheWaysOut(t *testing.T) {
	for _, way := range escape.Ways {
		plan := output(t, stage01(t, "escape", "--plan", "--by", way.Name, "/bin/sh"))
		testkit.Golden(t, plan, "escape-"+way.Name+".golden")
	}
}
