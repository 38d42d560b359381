package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/final/commandline"
	"skiff.example/stage01-chroot/hint"
)

// update: other limits for a container that runs. What is not named stays.

// maxResources is how long the text for --resources may be, in bytes.
const maxResources = 1 << 20

func updateCommand() commandline.Command {
	return onContainer("change the limits of a container", func(c *commandline.Context, id string) error {
		resources, err := resourcesOf(c)
		if err != nil {
			return fmt.Errorf("update: %w", err)
		}
		r := runtimeOf(c)
		if l3, bandwidth := c.String("l3-cache-schema"), c.String("mem-bw-schema"); l3 != "" || bandwidth != "" {
			if err := r.UpdateResctrl(id, l3, bandwidth); err != nil {
				return err
			}
		}
		return r.Update(id, resources)
	}, []commandline.Flag{
		{Kind: commandline.String, Name: "resources", Short: "r", Usage: "file with linux.resources as in config.json, or - for standard input; then the other flags are ignored"},
		{Kind: commandline.Uint, Name: "blkio-weight", Usage: "share of block I/O, 10 to 1000"},
		{Kind: commandline.Uint, Name: "cpu-period", Usage: "period in which the quota counts, in microseconds"},
		{Kind: commandline.Int, Name: "cpu-quota", Usage: "processor time in each period, in microseconds; -1 for no limit"},
		{Kind: commandline.Uint, Name: "cpu-burst", Usage: "what of the quota may be saved for later, in microseconds"},
		{Kind: commandline.Uint, Name: "cpu-share", Usage: "share of the processors among containers, 2 to 262144"},
		{Kind: commandline.Uint, Name: "cpu-rt-period", Usage: "period of real-time processes, in microseconds"},
		{Kind: commandline.Int, Name: "cpu-rt-runtime", Usage: "time of real-time processes in each period, in microseconds"},
		{Kind: commandline.String, Name: "cpuset-cpus", Usage: "processors: 0-3,7"},
		{Kind: commandline.String, Name: "cpuset-mems", Usage: "memory nodes: 0-3,7"},
		{Kind: commandline.Int, Name: "cpu-idle", Usage: "1: run only where nobody else wants to"},
		{Kind: commandline.String, Name: "memory", Usage: "limit in bytes, or as in 64m; -1 for none"},
		{Kind: commandline.String, Name: "memory-reservation", Usage: "soft limit in bytes, or as in 64m"},
		{Kind: commandline.String, Name: "memory-swap", Usage: "limit of memory and swap together in bytes, or as in 64m; -1 for none"},
		{Kind: commandline.Int, Name: "pids-limit", Usage: "how many processes and threads; -1 for no limit"},
		{Kind: commandline.String, Name: "l3-cache-schema", Usage: "share of the processor's caches, as linux.intelRdt.l3CacheSchema"},
		{Kind: commandline.String, Name: "mem-bw-schema", Usage: "share of the memory's bandwidth, as linux.intelRdt.memBwSchema"},
	})
}

// resourcesOf reads what is to change.
func resourcesOf(c *commandline.Context) (*specs.LinuxResources, error) {
	if file := c.String("resources"); file != "" {
		return readResources(file)
	}
	memory := &specs.LinuxMemory{}
	for name, field := range map[string]**int64{"memory": &memory.Limit, "memory-reservation": &memory.Reservation, "memory-swap": &memory.Swap} {
		var err error
		if *field, err = sizeOf(c.String(name)); err != nil {
			return nil, hint.Add(fmt.Errorf("--%s: %w", name, err), "want bytes, or as in 64k, 64m, 1g; -1 for no limit")
		}
	}
	r := &specs.LinuxResources{Memory: memory, CPU: &specs.LinuxCPU{
		Shares: set(c, "cpu-share", c.Uint), Quota: set(c, "cpu-quota", c.Int), Burst: set(c, "cpu-burst", c.Uint),
		Period: set(c, "cpu-period", c.Uint), RealtimeRuntime: set(c, "cpu-rt-runtime", c.Int),
		RealtimePeriod: set(c, "cpu-rt-period", c.Uint), Idle: set(c, "cpu-idle", c.Int),
		Cpus: c.String("cpuset-cpus"), Mems: c.String("cpuset-mems"),
	}}
	if limit := set(c, "pids-limit", c.Int); limit != nil {
		r.Pids = &specs.LinuxPids{Limit: limit}
	}
	if c.IsSet("blkio-weight") {
		weight := c.Uint("blkio-weight")
		if weight > 1000 {
			return nil, fmt.Errorf("--blkio-weight %d: want 10 to 1000", weight)
		}
		short := uint16(weight)
		r.BlockIO = &specs.LinuxBlockIO{Weight: &short}
	}
	return r, nil
}

// sizeOf reads a number of bytes as runc does; nil is that of an empty text.
func sizeOf(text string) (size *int64, err error) {
	n := int64(-1)
	switch text {
	case "":
		return nil, nil
	case "-1":
	default:
		n, err = units.RAMInBytes(text)
	}
	return &n, err
}

// set is the value of a flag, or nil if the flag is not there.
func set[T any](c *commandline.Context, name string, value func(string) T) *T {
	if !c.IsSet(name) {
		return nil
	}
	v := value(name)
	return &v
}

// readResources reads the text for --resources.
func readResources(file string) (*specs.LinuxResources, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--resources: %w", err)
		}
		defer f.Close()
		in = f
	}
	r := &specs.LinuxResources{}
	if err := json.NewDecoder(io.LimitReader(in, maxResources)).Decode(r); err != nil {
		return nil, hint.Add(fmt.Errorf("--resources %q: %w", file, err), "it is what stands in config.json as linux.resources")
	}
	return r, nil
}
