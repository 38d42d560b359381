package container

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/resctrl"
)

// The container's share of the processor's caches: the resctrl file system, see
// package resctrl. Like a cgroup of version 1 it is a group that is made before the
// process, which then moves itself in.

// makeResctrl makes the container's resctrl group, if it is to have one.
func (c *Container) makeResctrl() error {
	config := c.config.Spec.Linux.IntelRdt
	if config == nil {
		return nil
	}
	group, err := resctrl.New(c.config.ID, config)
	if err != nil {
		return err
	}
	c.resctrl = group.Entrances()
	return group.Create(c.journal)
}

// UpdateResctrl changes the container's share of the caches and of the memory's
// bandwidth; an empty schema leaves it. As in runc, a container that was made
// without a share has no group to change.
func (r *Runtime) UpdateResctrl(id, l3Cache, memoryBandwidth string) error {
	dir, state, err := r.find(id)
	if err != nil {
		return err
	}
	spec, err := state.loadConfig(dir)
	if err != nil {
		return err
	}
	config := spec.Linux.IntelRdt
	if config == nil {
		config = &specs.LinuxIntelRdt{}
	}
	group, err := resctrl.New(id, config)
	switch {
	case err != nil:
		return fmt.Errorf("update container %q: %w", id, err)
	case spec.Linux.IntelRdt == nil:
		return fmt.Errorf("update container %q: it was made without linux.intelRdt", id)
	}
	return group.Update(l3Cache, memoryBandwidth)
}
