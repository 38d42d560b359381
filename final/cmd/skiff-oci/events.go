package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/stage03-cgroups/cgroup"
)

// events: what a container uses, again and again, and when it runs out of memory.
// The lines are those of runc, whose names follow the files of cgroup v1.

// An event is one line.
type event struct {
	Type string `json:"type"` // "stats" or "oom"
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func eventsCommand() commandline.Command {
	return onContainer("print what a container uses, and when its memory is used up", func(c *commandline.Context, id string) error {
		every := c.Duration("interval")
		if every <= 0 {
			return fmt.Errorf("events: --interval %v: want more than 0", every)
		}
		r := runtimeOf(c)
		state, err := r.State(id)
		if err != nil {
			return err
		}
		if state.Pid == 0 {
			return fmt.Errorf("events: container %q is %s", id, state.Status)
		}
		group, err := r.Cgroup(id)
		if err != nil {
			return err
		}
		if c.Bool("stats") {
			return printStats(group, state)
		}
		return follow(r, group, state, every)
	}, []commandline.Flag{
		{Kind: commandline.Duration, Name: "interval", Default: "5s", Usage: "how often the statistics are printed"},
		{Name: "stats", Usage: "print the statistics once"},
	})
}

// follow prints until the container has stopped.
func follow(r *container.Runtime, group *cgroup.Manager, state *container.State, every time.Duration) error {
	watched, err := r.Cgroup(state.ID) // a Manager is not for two goroutines
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		var seen uint64
		err := watched.WatchMemory(ctx, func(e cgroup.MemoryEvents) {
			if e.OOM+e.OOMKill > seen {
				_ = print(event{Type: "oom", ID: state.ID}) // a reader that is gone ends the statistics
			}
			seen = max(seen, e.OOM+e.OOMKill)
		})
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, cgroup.ErrNoController) {
			fmt.Fprintln(os.Stderr, "warning: events:", err)
		}
	})
	for tick := time.NewTicker(every); ; <-tick.C {
		now, err := r.State(state.ID)
		if errors.Is(err, container.ErrNotFound) || err == nil && now.Pid == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printStats(group, state); err != nil {
			return err
		}
	}
}

// print writes a line.
func print(e event) error { return json.NewEncoder(os.Stdout).Encode(e) }

func printStats(group *cgroup.Manager, state *container.State) error {
	s, err := group.Stats()
	if err != nil {
		return err
	}
	return print(event{"stats", state.ID, statsOf(s, state)})
}

// stats is the data of a "stats" event. A part of which the machine counts nothing
// is there, and empty.
type stats struct {
	CPU struct {
		Usage struct {
			Total  uint64          `json:"total"` // nanoseconds, as all here
			PerCPU []time.Duration `json:"percpu,omitempty"`
			Kernel uint64          `json:"kernel"`
			User   uint64          `json:"user"`
		} `json:"usage"`
		Throttling struct {
			Periods   uint64 `json:"periods,omitempty"`
			Throttled uint64 `json:"throttledPeriods,omitempty"`
			Time      uint64 `json:"throttledTime,omitempty"`
		} `json:"throttling"`
		PSI *pressure `json:"psi,omitempty"`
	} `json:"cpu"`
	CPUSet struct {
		CPUs []uint64 `json:"cpus,omitempty"`
		Mems []uint64 `json:"mems,omitempty"`
	} `json:"cpuset"`
	Memory struct {
		Cache     uint64            `json:"cache,omitempty"`
		Usage     memoryEntry       `json:"usage"`
		Swap      memoryEntry       `json:"swap"` // with memory
		Kernel    memoryEntry       `json:"kernel"`
		KernelTCP memoryEntry       `json:"kernelTCP"`
		Raw       map[string]uint64 `json:"raw,omitempty"`
		PSI       *pressure         `json:"psi,omitempty"`
	} `json:"memory"`
	Pids struct {
		Current uint64 `json:"current,omitempty"`
		Limit   uint64 `json:"limit,omitempty"`
	} `json:"pids"`
	BlockIO struct {
		Bytes      []ioEntry `json:"ioServiceBytesRecursive,omitempty"`
		Operations []ioEntry `json:"ioServicedRecursive,omitempty"`
		PSI        *pressure `json:"psi,omitempty"`
	} `json:"blkio"`
	Hugetlb           map[string]hugetlbEntry `json:"hugetlb"`
	IntelRdt          struct{}                `json:"intel_rdt"`
	NetworkInterfaces []struct{}              `json:"network_interfaces"`
}

type memoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type ioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type hugetlbEntry struct {
	Usage   uint64 `json:"usage,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// pressure is cgroup.Pressure; its total is in microseconds, as in the kernel's file.
type pressure struct {
	Some stall `json:"some"`
	Full stall `json:"full"`
}

type stall struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  int64   `json:"total"`
}

func pressureOf(p *cgroup.Pressure) *pressure {
	if p == nil {
		return nil
	}
	of := func(s cgroup.Stall) stall { return stall{s.Avg10, s.Avg60, s.Avg300, s.Total.Microseconds()} }
	return &pressure{of(p.Some), of(p.Full)}
}

// statsOf sorts what package cgroup counts under runc's names.
func statsOf(s *cgroup.Stats, state *container.State) *stats {
	d := &stats{Hugetlb: map[string]hugetlbEntry{}}
	if c := s.CPU; c != nil {
		u := &d.CPU.Usage
		u.Total, u.PerCPU, u.Kernel, u.User = uint64(c.Usage), c.PerCPU, uint64(c.System), uint64(c.User)
		t := &d.CPU.Throttling
		t.Periods, t.Throttled, t.Time = c.Periods, c.ThrottledPeriods, uint64(c.Throttled)
	}
	cpuset := []string{state.CgroupPaths["cpuset"], state.CgroupPaths[""]}
	d.CPUSet.CPUs = readList(cpuset, "/cpuset.effective_cpus", "/cpuset.cpus.effective")
	d.CPUSet.Mems = readList(cpuset, "/cpuset.effective_mems", "/cpuset.mems.effective")
	if s.Memory != nil {
		d.memory(s.Memory)
	}
	if p := s.Pids; p != nil {
		d.Pids.Current = p.Current
		if p.Max != cgroup.NoLimit {
			d.Pids.Limit = p.Max
		}
	}
	d.blockIO(s.IO)
	for size, h := range s.Hugetlb {
		d.Hugetlb[size] = hugetlbEntry{h.Current, h.Failed}
	}
	if p := s.Pressure; p != nil {
		d.CPU.PSI, d.Memory.PSI, d.BlockIO.PSI = pressureOf(p.CPU), pressureOf(p.Memory), pressureOf(p.IO)
	}
	return d
}

func (d *stats) memory(m *cgroup.MemoryStats) {
	swap := m.SwapMax
	if swap != cgroup.NoLimit && m.Max != cgroup.NoLimit {
		swap += m.Max
	} else {
		swap = cgroup.NoLimit
	}
	d.Memory.Cache = m.File
	d.Memory.Usage = memoryEntry{m.Max, m.Current, m.Peak, m.AtMax}
	d.Memory.Swap = memoryEntry{Limit: swap, Usage: m.Current + m.SwapCurrent}
	d.Memory.Kernel = memoryEntry{Limit: cgroup.NoLimit, Usage: m.Kernel}
	d.Memory.KernelTCP = memoryEntry{Limit: cgroup.NoLimit, Usage: m.Sock}
	d.Memory.Raw = m.Raw
}

func (d *stats) blockIO(devices []cgroup.IOStats) {
	for _, device := range devices {
		major, minor, _ := strings.Cut(device.Device, ":")
		var e ioEntry
		e.Major, _ = strconv.ParseUint(major, 10, 64) // the kernel writes numbers
		e.Minor, _ = strconv.ParseUint(minor, 10, 64)
		for _, n := range []struct {
			op                string
			bytes, operations uint64
		}{{"Read", device.RBytes, device.RIOs}, {"Write", device.WBytes, device.WIOs}, {"Discard", device.DBytes, device.DIOs}} {
			e.Op, e.Value = n.op, n.bytes
			d.BlockIO.Bytes = append(d.BlockIO.Bytes, e)
			e.Value = n.operations
			d.BlockIO.Operations = append(d.BlockIO.Operations, e)
		}
	}
}

// readList reads the first of these files that is there: "0-2,7", "List format"
// in cpuset(7).
func readList(dirs []string, names ...string) (numbers []uint64) {
	for i, dir := range dirs {
		text, err := os.ReadFile(dir + names[i])
		if dir == "" || err != nil {
			continue
		}
		for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
			low, high, isRange := strings.Cut(part, "-")
			from, err := strconv.ParseUint(low, 10, 16)
			to := from
			if isRange {
				to, _ = strconv.ParseUint(high, 10, 16)
			}
			for n := from; err == nil && n <= to; n++ {
				numbers = append(numbers, n)
			}
		}
		return numbers
	}
	return nil
}
