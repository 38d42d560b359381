package engine

import (
	"cmp"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/engine/account"
	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// From an image's configuration and the caller's wishes to a container's:
// image-spec conversion.md.

// setProcess decides what runs, and as whom: image-spec config.md, and
// conversion.md, "Verbatim fields".
func setProcess(p *specs.Process, img *image.Image, o Options) error {
	config := img.Config.Config
	var err error
	if p.Args, err = image.Command(config, o.Entrypoint, o.Args); err != nil {
		return err
	}
	if p.Env, err = image.Environment(p.Env, config.Env, o.Env); err != nil {
		return err
	}
	p.Cwd = "/"
	for _, dir := range []string{config.WorkingDir, o.WorkDir} {
		if dir != "" {
			p.Cwd = dir
		}
	}
	if p.User, err = account.Resolve(cmp.Or(o.User, config.User, "0"), img.Layers); err != nil {
		return err
	}
	dropCapabilities(p)
	return oci.CompleteEnv(p, func(name string) ([]byte, error) { return account.Read(img.Layers, name) })
}

// dropCapabilities takes from a user other than 0 what only root has by
// default: the effective and the permitted set. The bounding set stays, for
// set-user-ID programs.
func dropCapabilities(p *specs.Process) {
	if p.User.UID != 0 {
		p.Capabilities.Effective, p.Capabilities.Permitted = nil, nil
	}
}

// The networks that Options.Network can name.
const (
	networkBridge = "bridge"
	networkNone   = "none"
	networkHost   = "host"
)

// setNetwork decides which network namespace the container has.
func setNetwork(spec *specs.Spec, name string) error {
	switch name {
	case "", networkBridge, networkNone:
		return nil
	case networkHost:
		spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
			return n.Type == specs.NetworkNamespace
		})
		return nil
	}
	return hint.Add(fmt.Errorf("unknown network %q", name), "networks are bridge, none and host")
}

// The limits that a container has unless the caller says otherwise. A limit
// on processes costs nothing and stops a fork bomb.
const (
	defaultPids = 4096
	cpuPeriod   = 100_000 // microseconds, the kernel's default
)

// leastCPUs is what the kernel gives at least: 1 ms in a period.
const leastCPUs = 0.01

// setLimits sets the container's limits.
func setLimits(spec *specs.Spec, o Options) error {
	if o.CPUs != 0 && o.CPUs < leastCPUs {
		return fmt.Errorf("cpus %v: the kernel gives no less than %v", o.CPUs, leastCPUs)
	}
	r := spec.Linux.Resources
	pids := int64(defaultPids)
	if o.Pids != 0 {
		pids = o.Pids
	}
	r.Pids = &specs.LinuxPids{Limit: &pids}
	if o.Memory > 0 {
		r.Memory = &specs.LinuxMemory{Limit: &o.Memory, Swap: &o.Memory}
	}
	if o.CPUs > 0 {
		quota, period := int64(o.CPUs*cpuPeriod), uint64(cpuPeriod)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return nil
}
