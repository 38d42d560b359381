package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:  "stage03",
		Usage: "run a program in a container that has limits",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Value: "/run/skiff-stage03", Usage: "keep the containers' journals in `DIR`"},
		},
		Commands: []*cli.Command{
			command.New("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a container", 2, runCommand,
				&cli.Int64Flag{Name: "memory", Usage: "at most `BYTES` of memory, all processes together"},
				&cli.Float64Flag{Name: "cpus", Usage: "at most the time of `N` processors; 0.5 is half of one"},
				&cli.Int64Flag{Name: "pids", Usage: "at most `N` processes and threads"},
				&cli.StringFlag{Name: "name", Value: "box", Usage: "call the container `NAME`"}),
			command.New("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2, planCommand),
			command.New("gc", "", "undo what killed runs have left on the host", 0, gcCommand),
			command.New("demo", "", "show all of this", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, c.App.Writer) }),
		},
	}
}

func runCommand(c *cli.Context, words []string) error {
	root, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	l := limits{memory: c.Int64("memory"), cpus: c.Float64("cpus"), pids: c.Int64("pids")}
	if err := l.check(c.IsSet); err != nil {
		return err
	}
	stateDir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return err
	}
	return run(c.Context, stateDir, c.String("name"), l, root, words[1:])
}

// planCommand prints the plan of a container that waits to be put into a group.
func planCommand(c *cli.Context, words []string) error {
	root, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	box, err := box(root, words[1:])
	if err != nil {
		return err
	}
	box.Prepare.Do = func(*launch.Process) error { return nil }
	p, err := box.Plan()
	if err != nil {
		return errors.Join(err, box.Namespaces.Close())
	}
	return errors.Join(p.Print(c.App.Writer), box.Namespaces.Close())
}

func gcCommand(c *cli.Context, _ []string) error {
	stateDir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return err
	}
	return state.Collect(stateDir, cgroup.Undoers(), func(name string, undone []journal.Entry) {
		for _, e := range undone {
			fmt.Fprintf(c.App.Writer, "container %q: removed its %s\n", name, e.Undo)
		}
	})
}

// limits are what a container may use. 0 is no limit.
type limits struct {
	memory int64   // bytes
	cpus   float64 // processors
	pids   int64   // processes and threads
}

// check refuses a limit that was given and is none.
func (l limits) check(given func(string) bool) error {
	for _, limit := range []struct {
		flag  string
		value float64
	}{{"memory", float64(l.memory)}, {"cpus", l.cpus}, {"pids", float64(l.pids)}} {
		if given(limit.flag) && (limit.value <= 0 || math.IsNaN(limit.value) || math.IsInf(limit.value, 0)) {
			return fmt.Errorf("--%s %v: must be more than 0", limit.flag, limit.value)
		}
	}
	return nil
}

// period is the stretch of time over which the kernel counts a group's
// processor time, in microseconds; this is its default.
const period = 100_000

// resources are the limits in the words of the OCI runtime specification
// (config-linux.md, "Control groups").
func (l limits) resources() *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if l.memory > 0 {
		// Swap is memory and swap together: what does not fit must not go to
		// the swap area instead, and slow everybody down.
		r.Memory = &specs.LinuxMemory{Limit: &l.memory, Swap: &l.memory}
	}
	if l.cpus > 0 {
		p, quota := uint64(period), int64(l.cpus*period)
		r.CPU = &specs.LinuxCPU{Period: &p, Quota: &quota}
	}
	if l.pids > 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.pids}
	}
	return r
}
