package cgroupmount_test

import (
	"strings"
	"testing"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/mount"
	"skiff.example/stage03-cgroups/cgroupmount"
)

// What a container sees of its groups, on each kind of machine. That it can be
// read and not be written is felt by the attacks of this module.
func TestThePlanOnEachKindOfMachine(t *testing.T) {
	for kind, groups := range map[string]map[string]string{
		"unified": {"": "/sys/fs/cgroup/box"},
		"legacy": {
			"memory": "/sys/fs/cgroup/memory/box", "name=systemd": "/sys/fs/cgroup/systemd/box",
			"cpu": "/sys/fs/cgroup/cpu,cpuacct/box", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/box",
		},
		"hybrid": {"": "/sys/fs/cgroup/unified/box", "pids": "/sys/fs/cgroup/pids/box"},
		"none":   {},
	} {
		p := &plan.Plan{}
		root := mount.NewRoot(p, "/srv/root")
		if err := cgroupmount.Add(root, cgroupmount.Usual(), groups); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if err := root.Close(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := p.Print(&text); err != nil {
			t.Fatal(err)
		}
		testkit.Golden(t, text.String(), kind+".golden")
	}
}
