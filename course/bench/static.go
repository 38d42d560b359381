package main

// This file brings in what the runtimes are measured against: a static C program that
// makes the system calls of skiff-oci for the bundle, and nothing beside them. It is
// c/container.c, and TestTheContainerInCMakesTheSameCalls compares the two.
//
// What the program does is written down in it, for the configuration that `runc spec` 1.1
// writes and for version 1 of control groups. Where it is not that, it takes no part.

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"skiff.example/course/bench/taken"
	"skiff.example/stage01-chroot/hint"
)

// staticC is the program as a candidate. Its place is behind the runtimes.
var staticC = candidate{name: "static C", path: "/run/bench-c/container", root: "/run/static-c"}

//go:embed c/container.c
var containerInC []byte

// configInC is the SHA-256 of what `runc spec` 1.1 writes.
const configInC = "e108176619244a8ebd57924ad474ad8e4bda7f3a3058d01886c8de2460ef473a"

// inC is the program's source, and what it has to know of the machine.
type inC struct {
	source      []byte
	hierarchies []hierarchy
}

// hierarchy is one of control groups: how it is called in the state of a container, and
// where it is mounted.
type hierarchy struct{ key, root string }

// errNoPart is in the error that says why the program cannot take part.
var errNoPart = errors.New(staticC.name + " takes no part")

// newInC looks whether the program is the same container: with the configuration
// that runc has written, and the groups that skiff makes.
func (b *bundle) newInC(config []byte, skiff candidate) (*inC, error) {
	if sum := fmt.Sprintf("%x", sha256.Sum256(config)); sum != configInC {
		return nil, fmt.Errorf("%w: the SHA-256 of this runc's configuration is %s, not %s", errNoPart, sum, configInC)
	}
	hierarchies, err := b.hierarchies(skiff)
	if err != nil {
		return nil, err
	}
	return &inC{containerInC, hierarchies}, nil
}

// hierarchies reads from the state of a container that skiff makes where its groups are,
// sorted by key.
func (b *bundle) hierarchies(skiff candidate) (all []hierarchy, err error) {
	id := b.newID()
	defer func() { err = errors.Join(err, skiff.remove(id)) }()
	if _, err := b.run(skiff, taken.Task{Commands: [][]string{skiff.command("create", id)}}, false); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(skiff.root, id, "state.json"))
	if err != nil {
		return nil, err
	}
	var state struct{ CgroupPaths map[string]string }
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("read the state of container %q: %w", id, err)
	}
	for _, key := range slices.Sorted(maps.Keys(state.CgroupPaths)) {
		h := hierarchy{key, filepath.Dir(state.CgroupPaths[key])}
		if key == "" || slices.ContainsFunc(all, func(other hierarchy) bool { return other.root == h.root }) {
			return nil, fmt.Errorf("%w: not each controller has a hierarchy of its own, of control groups version 1", errNoPart)
		}
		all = append(all, h)
	}
	for _, needed := range []string{"cpuset", "devices", "freezer"} {
		if _, ok := state.CgroupPaths[needed]; !ok {
			return nil, fmt.Errorf("%w: controller %q has no hierarchy of version 1", errNoPart, needed)
		}
	}
	return all, nil
}

// build compiles the program. The arguments of the container's program are compiled in,
// as all of the configuration is.
func (c *inC) build(program []string) error {
	dir := filepath.Dir(staticC.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var arguments, hierarchies, byPath []string
	for _, a := range program {
		arguments = append(arguments, fmt.Sprintf("%q", a))
	}
	sorted := slices.SortedFunc(slices.Values(c.hierarchies), func(a, b hierarchy) int { return strings.Compare(a.root, b.root) })
	for _, h := range c.hierarchies {
		hierarchies = append(hierarchies, fmt.Sprintf("{%q, %q}", h.key, h.root))
	}
	for _, h := range sorted {
		byPath = append(byPath, fmt.Sprint(slices.Index(c.hierarchies, h)))
	}
	var header strings.Builder
	for name, list := range map[string][]string{"PROGRAM": arguments, "HIERARCHIES": hierarchies, "BY_PATH": byPath} {
		fmt.Fprintf(&header, "#define %s %s\n", name, strings.Join(list, ", "))
	}
	source := filepath.Join(dir, "container.c")
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "bundle.h"), []byte(header.String()), 0o600),
		os.WriteFile(source, c.source, 0o600)); err != nil {
		return err
	}
	out, err := exec.Command("gcc", "-O2", "-static", "-Wall", "-Wextra", "-o", staticC.path, source).CombinedOutput()
	if err != nil {
		return hint.Add(fmt.Errorf("build %s: %w: %s", staticC.name, err, bytes.TrimSpace(out)), "make deps")
	}
	return nil
}
