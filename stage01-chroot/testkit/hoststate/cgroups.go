package hoststate

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// The control groups of every mounted hierarchy, v1 and v2. A group is a
// directory of a cgroup file system: cgroups(7).

// cgroups lists the groups of every hierarchy that is mounted here.
func cgroups() ([]Thing, error) {
	infos, err := readMountInfo()
	if err != nil {
		return nil, err
	}
	own, err := ownGroups()
	if err != nil {
		return nil, err
	}
	var things []Thing
	seen := map[string]bool{}
	for _, m := range infos {
		if !strings.HasPrefix(m.fstype, "cgroup") || m.root != "/" || seen[m.device] {
			continue // not a hierarchy, a part of one, or mounted a second time
		}
		seen[m.device] = true
		label := hierarchy(m)
		groups, err := groupsBelow(m.point, label, own[label])
		if err != nil {
			return nil, err
		}
		things = append(things, groups...)
	}
	return things, nil
}

// hierarchy names a hierarchy as /proc/self/cgroup does: by its controllers
// ("cpu,cpuacct"), by its name ("name=systemd"), or "" for version 2. Only
// these super block options tell hierarchies apart.
func hierarchy(m mountInfo) string {
	if m.fstype == "cgroup2" {
		return ""
	}
	var words []string
	for _, option := range strings.Split(m.super, ",") {
		switch {
		case option == "rw", option == "ro", option == "xattr", option == "noprefix",
			option == "clone_children", option == "cpuset_v2_mode",
			strings.HasPrefix(option, "release_agent="):
		default:
			words = append(words, option)
		}
	}
	return strings.Join(words, ",")
}

// ownGroups tells which group this process is in, for each hierarchy. The
// lines of /proc/self/cgroup are "id:controllers:path".
func ownGroups() (map[string]string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			own[f[1]] = f[2]
		}
	}
	return own, nil
}

// groupsBelow lists the groups of the hierarchy that is mounted on point.
// Groups disappear while we walk: that is no error.
func groupsBelow(point, label, own string) ([]Thing, error) {
	var things []Thing
	err := filepath.WalkDir(point, func(file string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() || file == point {
			return err
		}
		group := strings.TrimPrefix(file, point)
		if othersGroup(group, own) {
			return fs.SkipDir
		}
		name := label + ":" + group
		if label == "" {
			name = "v2:" + group
		}
		things = append(things, Thing{Kind: "cgroup", Name: name, Note: file})
		return nil
	})
	return things, err
}

// othersGroup reports whether a group comes and goes without our doing: one
// that stands beside our own (other sessions, other jobs, put there by whoever
// put us in ours), and a service or a session of systemd.
func othersGroup(group, own string) bool {
	if group == own || strings.HasPrefix(own, group+"/") {
		return false
	}
	parent := path.Dir(group)
	if parent != "/" && parent == path.Dir(own) {
		return true
	}
	return parent == "/system.slice" || strings.HasPrefix(parent, "/user.slice/")
}
