package main

import (
	"fmt"
	"math"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:            "stage03",
		Usage:           "run a program in a container that has limits",
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main does it
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Value: "/run/skiff-stage03", Usage: "keep the containers' journals in `DIR`"},
		},
		Commands: []*cli.Command{
			{
				Name: "run", ArgsUsage: "ROOT COMMAND [ARGUMENT…]", Usage: "run a command in a container",
				Flags: []cli.Flag{
					&cli.Int64Flag{Name: "memory", Usage: "at most `BYTES` of memory, all processes together"},
					&cli.Float64Flag{Name: "cpus", Usage: "at most the time of `N` processors; 0.5 is half of one"},
					&cli.Int64Flag{Name: "pids", Usage: "at most `N` processes and threads"},
					&cli.StringFlag{Name: "name", Value: "box", Usage: "call the container `NAME`"},
				},
				Action: runCommand,
			},
			{Name: "plan", ArgsUsage: "ROOT COMMAND [ARGUMENT…]", Usage: "print the system calls of run", Action: planCommand},
			{Name: "gc", Usage: "undo what killed runs have left on the host", Action: gcCommand},
			{Name: "demo", Usage: "show all of this", Action: func(c *cli.Context) error { return demo(c.Context, c.App.Writer) }},
		},
	}
}

// words are ROOT and COMMAND….
func words(c *cli.Context) (root string, argv []string, err error) {
	if c.NArg() < 2 {
		return "", nil, hint.Add(fmt.Errorf("%s: too few arguments", c.Command.Name),
			"usage: stage03 "+c.Command.Name+" "+c.Command.ArgsUsage)
	}
	root, err = filepath.Abs(c.Args().First())
	return root, c.Args().Tail(), err
}

func runCommand(c *cli.Context) error {
	root, argv, err := words(c)
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
	return run(c.Context, stateDir, c.String("name"), l, root, argv)
}

func planCommand(c *cli.Context) error {
	root, argv, err := words(c)
	if err != nil {
		return err
	}
	gate, err := launch.NewGate()
	if err != nil {
		return err
	}
	defer gate.Close() // nobody waits there
	p, err := container(root, argv, gate.Steps())
	if err != nil {
		return err
	}
	return p.Print(c.App.Writer)
}

func gcCommand(c *cli.Context) error {
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
