package main

// This file says which programs are compared.

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"

	"skiff.example/stage01-chroot/hint"
)

// candidate is a program that takes part.
type candidate struct {
	name string
	path string // absolute: the bundle is the working directory
	root string // where a runtime keeps its containers; "" if it is none
}

// nothing runs /bin/true without a container: what a process costs, and what
// measuring one costs.
var nothing = candidate{name: "no container", path: filepath.Join(bundleDir, "rootfs/bin/true")}

// empty is a program in Go that does nothing: what no runtime in Go can start faster than.
var empty = candidate{name: "empty Go", path: "/run/bench-empty"}

// The runtimes by their place in what find returns, and who comes behind them.
const (
	runc = iota
	crun
	ours
	byHand // staticC, where it takes part
)

// find looks for the runtimes.
func find(skiff string) ([]candidate, error) {
	runtimes := []candidate{
		runc: {name: "runc", path: "runc", root: "/run/runc"},
		crun: {name: "crun", path: "crun", root: "/run/crun"},
		ours: {name: "skiff-oci", path: skiff, root: "/run/skiff-oci"},
	}
	for i := range runtimes {
		r := &runtimes[i]
		found, err := exec.LookPath(r.path)
		if err != nil {
			return nil, hint.Add(fmt.Errorf("find %s: %w", r.name, err), "make deps installs runc and crun, make bench builds skiff-oci")
		}
		if r.path, err = filepath.Abs(found); err != nil {
			return nil, fmt.Errorf("find %s: %w", r.name, err)
		}
	}
	return runtimes, nil
}

// command is the command line of the runtime's command called name, for the
// container with this id. The bundle is the working directory.
func (c candidate) command(name, id string, more ...string) []string {
	return append([]string{c.path, name, id}, more...)
}

// remove removes the container; that there is none is fine.
func (c candidate) remove(id string) error {
	out, err := exec.Command(c.path, "delete", "--force", id).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s delete --force %s: %w: %s", c.name, id, err, bytes.TrimSpace(out))
	}
	return nil
}
