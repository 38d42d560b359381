// Looking at a container: all numbers, what happens to it, and what it waits
// for. See cgroups(7), and accounting/psi in the kernel's documentation.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/cgroup"
)

// statsCommand prints each number as a line. Its name is made of those that version
// 2 has for the controller and for the number: memory.swap_max is memory.swap.max,
// memory.anon is in memory.stat, and cpu.usage_nsec is usage_usec in cpu.stat, as
// here all times are in nanoseconds.
func statsCommand(c *cli.Context, words []string) error {
	group, err := find(c, words[0])
	if err != nil {
		return err
	}
	stats, err := group.Stats()
	if err != nil {
		return err
	}
	text, err := json.Marshal(stats)
	if err != nil {
		return err
	}
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return err
	}
	return flatten(c.App.Writer, "", tree)
}

// flatten prints the leaves of a tree, each with the way to it: "memory.max 64".
func flatten(w io.Writer, path string, node any) error {
	switch node := node.(type) {
	case map[string]any:
		for _, key := range sorted(node) {
			if err := flatten(w, strings.TrimPrefix(path+"."+key, "."), node[key]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		for i, element := range node {
			if err := flatten(w, path+"."+strconv.Itoa(i), element); err != nil {
				return err
			}
		}
		return nil
	}
	text := fmt.Sprint(node)
	if text == strconv.FormatUint(cgroup.NoLimit, 10) {
		text = unlimited
	}
	_, err := fmt.Fprintln(w, path, text)
	return err
}

// events are the counters of what limits have done, as `events` prints them.
type events struct {
	memory cgroup.MemoryEvents
	pids   uint64 // forks that were refused
}

// changes prints the counters that are not what they were before.
func (e events) changes(w io.Writer, before events) error {
	for _, counter := range []struct {
		name     string
		was, now uint64
	}{
		{"memory.low", before.memory.BelowLow, e.memory.BelowLow},
		{"memory.high", before.memory.AboveHigh, e.memory.AboveHigh},
		{"memory.max", before.memory.AtMax, e.memory.AtMax},
		{"memory.oom", before.memory.OOM, e.memory.OOM},
		{"memory.oom_kill", before.memory.OOMKill, e.memory.OOMKill},
		{"memory.oom_group_kill", before.memory.GroupKill, e.memory.GroupKill},
		{"pids.max", before.pids, e.pids},
	} {
		if counter.now == counter.was {
			continue
		}
		if _, err := fmt.Fprintln(w, counter.name, counter.now); err != nil {
			return err
		}
	}
	return nil
}

func eventsCommand(c *cli.Context, words []string) error {
	group, err := find(c, words[0])
	if err != nil {
		return err
	}
	if !c.Bool("once") {
		watched := *group // each goroutine has its own
		return follow(c.Context, c.App.Writer, group, &watched)
	}
	now, err := eventsOf(group)
	if err != nil {
		return err
	}
	return now.changes(c.App.Writer, events{})
}

func eventsOf(group *cgroup.Manager) (e events, err error) {
	stats, err := group.Stats()
	if err != nil {
		return e, err
	}
	if stats.Memory != nil {
		e.memory = stats.Memory.MemoryEvents
	}
	if stats.Pids != nil {
		e.pids = stats.Pids.Refused
	}
	return e, nil
}

// pidsInterval is how often pids are looked at: in v1, pids.events tells nobody
// that it has changed.
const pidsInterval = 100 * time.Millisecond

// follow prints events of a container until it has ended, or ctx has. What
// happens to its memory is told by the kernel the moment that it happens.
func follow(ctx context.Context, w io.Writer, group, watched *cgroup.Manager) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	memory, ended := make(chan cgroup.MemoryEvents), make(chan error, 1)
	go func() {
		ended <- watched.WatchMemory(watching, func(e cgroup.MemoryEvents) {
			select {
			case memory <- e:
			case <-watching.Done():
			}
		})
	}()
	tick := time.NewTicker(pidsInterval)
	defer tick.Stop()
	for last := (events{}); ; {
		now := last
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				return nil // Ctrl-C is how one stops looking
			}
			return err
		case now.memory = <-memory:
		case <-tick.C:
			stats, err := group.Stats()
			if gone(err) {
				continue // the watch says so as well, after what came before
			}
			if err != nil {
				return err
			}
			if stats.Pids != nil {
				now.pids = stats.Pids.Refused
			}
		}
		if err := now.changes(w, last); err != nil {
			return err
		}
		last = now
	}
}

// gone tells whether a group was removed while it was read.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }

// barWidth is how many columns stand for all of the time.
const barWidth = 40

// pressureCommand draws how much of the last ten seconds some processes of a
// container, or all of them, stood still for want of something.
func pressureCommand(c *cli.Context, words []string) error {
	group, err := find(c, words[0])
	if err != nil {
		return err
	}
	stats, err := group.Stats()
	if err != nil {
		return err
	}
	if stats.Pressure == nil {
		err := fmt.Errorf("pressure of container %q: %w", words[0], errors.ErrUnsupported)
		return hint.Add(err, "it is a matter of cgroup v2, and the kernel may have it off: boot with psi=1")
	}
	return drawPressure(c.App.Writer, stats.Pressure)
}

func drawPressure(w io.Writer, p *cgroup.Pressures) error {
	if _, err := fmt.Fprintf(w, "%-12s %-*s %7s %7s %7s\n", "waits for", barWidth, "", "avg10", "avg60", "avg300"); err != nil {
		return err
	}
	for _, kind := range []struct {
		name string
		p    *cgroup.Pressure
	}{{"cpu", p.CPU}, {"memory", p.Memory}, {"io", p.IO}} {
		if kind.p == nil {
			continue
		}
		for _, line := range []struct {
			who string
			s   cgroup.Stall
		}{{"some", kind.p.Some}, {"full", kind.p.Full}} {
			n := min(int(line.s.Avg10*barWidth/100+0.5), barWidth)
			bar := strings.Repeat("#", n) + strings.Repeat(".", barWidth-n)
			if _, err := fmt.Fprintf(w, "%-7s%-5s %s %6.1f%% %6.1f%% %6.1f%%\n",
				kind.name, line.who, bar, line.s.Avg10, line.s.Avg60, line.s.Avg300); err != nil {
				return err
			}
		}
	}
	return nil
}
