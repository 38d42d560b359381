package container

import "skiff.example/final/resctrl"

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
