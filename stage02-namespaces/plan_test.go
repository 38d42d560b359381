package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

// A plan needs no root, neither the user nor the directory. Who is not root gets
// a user namespace with each container, so what is printed for root is compared
// only as root.
func TestThePlan(t *testing.T) {
	if os.Geteuid() == 0 {
		testkit.Golden(t, output(t, stage02(t, "plan", "--hostname", "box", "/srv/root", "/bin/ls", "-l", "/")), "plan.golden")
	}
	got := output(t, stage02(t, "plan", "--new", "user", "--hostname", "box", "/srv/root", "/bin/ls", "-l", "/"))
	testkit.Golden(t, got, "plan-user.golden")
}

// Each kind alone, and the combinations that the chapter shows.
func TestThePlanOfEachKind(t *testing.T) {
	var all strings.Builder
	for _, flags := range [][]string{
		{"uts"},
		{"ipc"},
		{"pid"},
		{"mnt"},
		{"net"},
		{"user"},
		{"cgroup"},
		{"time"},
		{"--clock", "boottime=3600", "time"},
		{"pid,mnt"},
		{"user,uts"},
		{"--clock", "monotonic=7", "user,pid,mnt,time"},
		{"user,mnt,uts,ipc,pid,net,cgroup,time"},
	} {
		args := append(append([]string{"new", "--plan"}, flags...), "/bin/true")
		cmd := stage02(t, args...)
		cmd.Env = []string{"PATH=/bin"} // the program's environment is the caller's
		fmt.Fprintf(&all, "$ stage02 %s\n%s\n", strings.Join(args, " "), output(t, cmd))
	}
	testkit.Golden(t, all.String(), "plan-kinds.golden")
}
