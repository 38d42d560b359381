// Package cgroupmount shows a container its own control groups, and no others:
// cgroups(7), cgroup_namespaces(7), runtime-spec config-linux.md, "Control
// groups".
//
// Programs look at /sys/fs/cgroup to learn how much memory and how many
// processors they may use. So a container gets one, read-only: who may write
// there sets his own limits.
package cgroupmount

import (
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage02-namespaces/mount"
)

// Usual is the mount that every container has that asks for nothing else.
func Usual() specs.Mount {
	return specs.Mount{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
	}
}

// unified is the name of the v2 hierarchy in cgroup.Manager.Paths.
const unified = ""

// folderOf is the folder of a hierarchy below /sys/fs/cgroup, as systemd
// names it.
func folderOf(hierarchy string) string {
	if hierarchy == unified {
		return "unified"
	}
	return strings.TrimPrefix(hierarchy, "name=")
}

// Add adds the steps for a mount of type cgroup: what the container sees of the
// cgroup tree is its own groups, as cgroup.Manager.Paths has them. With one
// hierarchy (cgroup v2) that is a single mount. With several, it is a tmpfs with
// a folder for each. The groups need only be there when the plan runs.
//
// The groups are bind-mounted rather than mounted anew: a new mount shows the
// root of the hierarchy unless the process has a cgroup namespace, and the
// container shall not see that even without one. A container of an ordinary user
// may have no groups of its own, and is shown an empty folder; those that it
// shares with others are none of its business (CVE-2023-25809).
func Add(root *mount.Root, m specs.Mount, groups map[string]string) error {
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
