// Cpuset: which processors and memory nodes a group may use; cpuset(7). The
// files have the same names in both versions. In v1 they are born empty, and
// nobody can enter a group before both have a value.

package cgroup

import (
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func cpuset(_ string, r *specs.LinuxResources) ([]setting, error) {
	if r.CPU == nil {
		return nil, nil
	}
	return []setting{to("cpuset.cpus", r.CPU.Cpus), to("cpuset.mems", r.CPU.Mems)}, nil
}

// inheritCpuset copies cpuset.cpus and cpuset.mems from the group above to
// dir where they are empty, as they are known to be in a group just made. If
// they are empty above, the same is done there first, and so on up to root,
// which has all. (cgroup.clone_children would do it by itself, but it would
// have to be set in a group that is not ours.)
func inheritCpuset(root, dir string, justMade bool) error {
	if dir == root {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if !justMade {
			value, err := read(dir, file)
			if err != nil {
				return err
			}
			if value != "" {
				continue
			}
		}
		if err := inheritFile(root, dir, file); err != nil {
			return err
		}
	}
	return nil
}

// inheritFile copies one file of the group above to dir.
func inheritFile(root, dir, file string) error {
	above := path.Dir(dir)
	value, err := read(above, file)
	if err != nil {
		return err
	}
	if value == "" {
		if err := inheritCpuset(root, above, false); err != nil {
			return err
		}
		if value, err = read(above, file); err != nil {
			return err
		}
	}
	return write(dir, file, value)
}
