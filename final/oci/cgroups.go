package oci

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/mount"
)

// The mount of type "cgroup": cgroups(7), runtime-spec config-linux.md, "Control
// groups".

// unified is the name of the v2 hierarchy among a container's groups.
const unified = ""

// folderOf is the folder of a hierarchy below /sys/fs/cgroup, as systemd
// names it.
func folderOf(hierarchy string) string {
	if hierarchy == unified {
		return "unified"
	}
	return strings.TrimPrefix(hierarchy, "name=")
}

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
		tasks := p.Register(fmt.Sprintf("tasks%d", i))
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

// mountCgroups adds the steps for a mount of type cgroup: what the container
// sees of the cgroup tree is its own groups. With one hierarchy (cgroup v2)
// that is a single mount. With several, it is a tmpfs with a folder for each:
// runtime-spec config-linux.md, "Control groups".
//
// The groups are bind-mounted rather than mounted anew: a new mount shows the
// root of the hierarchy unless the process has a cgroup namespace, and the
// container shall not see that even without one. A container of an ordinary user
// may have no groups of its own, and is shown an empty folder; those that it
// shares with others are none of its business (CVE-2023-25809).
func mountCgroups(root *mount.Root, m specs.Mount, groups map[string]string) error {
	if single, ok := groups[unified]; ok && len(groups) == 1 {
		m.Type, m.Source, m.Options = "bind", single, append([]string{"bind"}, m.Options...)
		return root.BindFolder(m)
	}
	var folders []mount.Folder
	for _, hierarchy := range slices.Sorted(maps.Keys(groups)) {
		folders = append(folders, mount.Folder{Name: folderOf(hierarchy), Source: groups[hierarchy]})
	}
	return root.Shelf(m, folders)
}
