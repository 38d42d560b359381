package container

import (
	"errors"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage03-cgroups/cgroup"
)

// The container's cgroup: made before its process, so that this can go in
// before it does anything else, and by the cheap ways: cgroups(7), clone3(2)
// CLONE_INTO_CGROUP, and cgroup.Manager.Add for what the other way costs.

// chooseCgroup decides where the container's cgroup will be.
func (c *Container) chooseCgroup() error {
	hierarchies, err := cgroup.Detect()
	if err != nil {
		return err
	}
	path := c.config.Spec.Linux.CgroupsPath
	if path == "" {
		path = "/skiff-" + c.config.ID
	}
	c.cgroup, err = hierarchies.New(path)
	return err
}

// makeCgroup makes the container's cgroup, sets its limits and opens it.
func (c *Container) makeCgroup() (*entry, error) {
	if err := c.cgroup.Create(c.journal); err != nil {
		return nil, err
	}
	if err := c.cgroup.Set(withDefaultDevices(c.config.Spec.Linux.Resources)); err != nil {
		return nil, err
	}
	born, err := c.cgroup.Descriptor()
	if err != nil {
		return nil, err
	}
	e := &entry{born: born}
	if e.tasks, err = c.cgroup.Entrances(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// withDefaultDevices puts the rules of the configuration between one that
// forbids all devices, since a container has those that it was given and no
// others, and those for the devices that every container has.
func withDefaultDevices(r *specs.LinuxResources) *specs.LinuxResources {
	var all specs.LinuxResources
	if r != nil {
		all = *r
	}
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	all.Devices = append(append(rules, all.Devices...), cgroup.DefaultDevices()...)
	return &all
}

// An entry is how the process comes into its cgroup, which is open here: it is
// born in that of v2, and moves itself into those of v1.
type entry struct {
	born  *os.File   // the v2 directory, or nil
	tasks []*os.File // a file for each v1 hierarchy
}

// steps are those of the process, which is alone in its first thread then.
func (e *entry) steps() []plan.Step {
	var steps []plan.Step
	for _, f := range e.tasks {
		tasks := plan.Descriptor{Number: int(f.Fd()), Name: "tasks"}
		steps = append(steps, plan.Write(tasks, "0").Doing("enter the cgroup of %q", f.Name()).
			Hint(unix.ENOSPC, "the group's cpuset.cpus or cpuset.mems is empty"))
	}
	return steps
}

// Close closes the files.
func (e *entry) Close() error {
	errs := []error{closeFile(&e.born)}
	for _, f := range e.tasks {
		errs = append(errs, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the cgroup: %w", err)
	}
	return nil
}
