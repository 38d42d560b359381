package container

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"skiff.example/final/netdevice"
	"skiff.example/stage02-namespaces/namespace"
)

// Network devices of the host that become the container's: linux.netDevices, see
// package netdevice. They are not in the journal: a device goes with its namespace,
// and the kernel gives back what is not virtual.

// moveNetDevices moves them, while the process waits.
func (c *Container) moveNetDevices(set *namespace.Set) (err error) {
	devices := c.config.Spec.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	if !set.Has(unix.CLONE_NEWNET) {
		return errors.New("linux.netDevices: the network namespace is this process's own: there is nowhere to move to")
	}
	ns, err := c.networkNamespace()
	if err != nil {
		return fmt.Errorf("linux.netDevices: %w", err)
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		if err := netdevice.Move(name, devices[name].Name, ns); err != nil {
			return err
		}
	}
	return nil
}

// networkNamespace opens the network namespace of the process, as soon as it has one
// of its own: it may be on its way there, through a user namespace that it joins.
func (c *Container) networkNamespace() (*os.File, error) {
	ours, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	const patience, pause = 10 * time.Second, time.Millisecond
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", c.process.Pid))
		if err != nil {
			return nil, err
		}
		theirs, err := ns.Stat()
		if err == nil && !os.SameFile(ours, theirs) {
			return ns, nil
		}
		if err := errors.Join(err, ns.Close(), c.process.Failure()); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the process does not get to its network namespace")
}
