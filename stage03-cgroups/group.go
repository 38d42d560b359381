// Whose group is whose. The group of a container has a name of its own, the same
// in every hierarchy, which every command finds again from the container's name
// and the folder that keeps its journal. Groups are directories of the whole
// machine: whoever keeps containers in another folder may have one of the same
// name, and must not meet ours. See cgroups(7).

package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// defaultState is where containers are kept if --state does not say otherwise.
const defaultState = "/run/skiff-stage03"

// stateDir is the folder that --state names, under the one name that it has
// without links: two names of a folder are one folder.
func stateDir(c *cli.Context) (string, error) {
	dir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return "", err
	}
	return state.Resolve(dir)
}

// groupOf is the group of the container called name below stateDir, which may not
// be there: /skiff-stage03-NAME, or for another folder than the usual one
// /skiff-stage03.HASH-NAME, with a hash of the folder.
func groupOf(stateDir, name string) (*cgroup.Manager, error) {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	owner := "/skiff-stage03"
	if stateDir != defaultState {
		hash := fnv.New32a()
		hash.Write([]byte(stateDir))
		owner += fmt.Sprintf(".%08x", hash.Sum32())
	}
	return hierarchies.New(owner + "-" + name)
}

// free is an error if the group is there. The container's folder is ours by now and
// its old journal undone, so it would be somebody else's group, or one whose
// journal is lost: what is in there would share the container's limits, and its
// end.
func free(group *cgroup.Manager) error {
	for _, dir := range group.Paths() {
		_, err := os.Lstat(dir)
		if err == nil {
			err := fmt.Errorf("control group %q: %w", dir, unix.EEXIST)
			return hint.Add(err, "give the container another --name; or, if nobody needs the group, remove it with rmdir")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for the control group: %w", err)
		}
	}
	return nil
}
