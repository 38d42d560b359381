package oci

import (
	"fmt"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// The way into the container's groups: cgroups(7). What the container sees of
// them is in package cgroupmount.

// openCgroups adds the steps that open the container's v1 groups; enter adds
// those that go in. To open them, the process must see what the host sees; to
// go in, it must be the one that stays, which is the second of two if it joins
// a pid namespace: with pids.max 1 there is room for one only.
func openCgroups(p *plan.Plan, entrances []string) (enter func()) {
	var steps []plan.Step
	if len(entrances) > 0 {
		p.Section(3, "open the cgroups")
	}
	for i, file := range entrances {
		tasks := p.Register(entrance(i))
		p.Add(plan.Openat2(plan.CWD, file, unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC}).Into(tasks))
		steps = append(steps, plan.Write(tasks, "0").Doing("enter the cgroup of %q", file).
			Hint(unix.ENOSPC, "the group's cpuset.cpus or cpuset.mems is empty"))
	}
	return func() {
		if len(steps) > 0 {
			p.Section(3, "enter the cgroups")
			p.Add(steps...)
		}
	}
}

// entrance is the name of the register that holds entrance number i.
func entrance(i int) string { return fmt.Sprintf("tasks%d", i) }
