package plan_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/plan/machine"
	"skiff.example/stage01-chroot/testkit"
)

// small is a plan with everything that a printed plan can have: headings,
// registers, named descriptors, guards, failures that are fine.
func small() *plan.Plan {
	p := &plan.Plan{}
	root, dir := p.Register("root"), p.Register("dir")
	gate := plan.Descriptor{Number: 5, Name: "gate"}
	p.Section(1, "a root")
	p.Add(
		plan.OpenTree(plan.CWD, "/srv/box", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC).Into(root),
		plan.Openat2(root, "proc", unix.OpenHow{Flags: unix.O_PATH, Resolve: unix.RESOLVE_IN_ROOT}).
			Into(dir).Accept(unix.ENOENT, unix.ENOTDIR),
		plan.Mkdirat(root, "proc", 0o755).Accept(unix.EEXIST).Unless(dir),
		plan.Mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "").When(dir),
	)
	p.Section(2, "a process")
	p.Add(plan.ReadByte(gate, 'g'), plan.CloneSibling(), plan.Close(plan.Descriptor{Number: 9}))
	p.Add(plan.Execve("/bin/sh", []string{"sh", "-c", "echo \"hi\"\n"}, []string{"PATH=/bin"}))
	return p
}

func TestAPlanIsPrintedUnderItsHeadings(t *testing.T) {
	var b strings.Builder
	if err := small().Print(&b); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, b.String(), "small.golden")
}

func TestAPlanTooLargeForTheMachineIsRefused(t *testing.T) {
	long := &plan.Plan{}
	for range machine.MaxOps + 1 {
		long.Add(plan.Umask(0))
	}
	picky := &plan.Plan{}
	picky.Add(plan.Umask(0).Accept(unix.EPERM, unix.ENOENT, unix.EIO).Accept(unix.EBADF))
	for _, c := range []struct {
		plan *plan.Plan
		want string
	}{
		{&plan.Plan{}, "plan: 0 steps, want 1 to 65536"},
		{long, "plan: 65537 steps, want 1 to 65536"},
		{picky, "plan: step 1, set umask 000: 1 arguments and 4 accepted errnos, want at most 6 and 3"},
	} {
		if err := plan.Run(c.plan); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}
