// Commands for a container that another process runs: what can be done to it by
// means of its group alone. They need no word with its runtime, because all that
// there is to know is in the kernel: cgroups(7).

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// find returns the group of a container that runs.
func find(c *cli.Context, name string) (*cgroup.Manager, error) {
	if err := needRoot(c); err != nil {
		return nil, err
	}
	dir, err := stateDir(c)
	if err != nil {
		return nil, err
	}
	if err := state.Find(dir, name); err != nil {
		names, listed := state.Names(dir)
		if len(names) == 0 {
			names = []string{"none"}
		}
		return nil, errors.Join(hint.Add(err, "there are: "+strings.Join(names, ", ")), listed)
	}
	group, err := groupOf(dir, name)
	if err != nil {
		return nil, err
	}
	pids, err := group.Processes()
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 {
		err := fmt.Errorf("container %q: %w: it has none", name, unix.ESRCH)
		return nil, hint.Add(err, "it begins or ends right now, or its runtime was killed: then stage03 gc removes what is left")
	}
	return group, nil
}

// onGroup is a command that does one thing to a container's group.
func onGroup(do func(*cgroup.Manager) error) func(*cli.Context, []string) error {
	return func(c *cli.Context, words []string) error {
		group, err := find(c, words[0])
		if err != nil {
			return err
		}
		return do(group)
	}
}

// updateCommand changes the limits that are given, and leaves the others as they
// are. A limit below what is in use is refused: version 2 would kill a process.
// After a failure all are as they were, as far as the kernel lets them: see
// cgroup.Manager.Set.
func updateCommand(c *cli.Context, words []string) error {
	r, err := limitsOf(c)
	if err != nil {
		return err
	}
	if c.NumFlags() == 0 {
		return hint.Add(errors.New("update: no limit is given"), "the flags are listed by: stage03 update --help")
	}
	check := true
	r.Memory.CheckBeforeUpdate = &check
	group, err := find(c, words[0])
	if err != nil {
		return err
	}
	now, err := group.Stats()
	if err != nil {
		return err
	}
	keepSwap(r.Memory, now.Memory)
	return group.Set(r)
}
