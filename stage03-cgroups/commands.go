// The command line: which words there are, and what each of them is given.

package main

import (
	"errors"
	"fmt"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
)

func app() *cli.App {
	once := &cli.BoolFlag{Name: "once", Usage: "print what is now, and end"}
	name := &cli.StringFlag{Name: "name", Value: "box", Usage: "call the container `NAME`"}
	mount := &cli.BoolFlag{Name: "may-mount", Usage: "leave the program CAP_SYS_ADMIN, with which it can change its own limits"}
	return &cli.App{
		Name:  "stage03",
		Usage: "run a program in a container that has limits",
		// A comma is part of a value, as in cpuset.cpus=0,2, and not its end.
		DisableSliceFlagSeparator: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Value: defaultState, Usage: "keep the containers' journals in `DIR`"},
		},
		Commands: []*cli.Command{
			command.New("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a container", 2, runCommand,
				append(limitFlags(), deviceFlag(), name, mount)...),
			command.New("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2, planCommand, name, mount),
			command.New("top", "[NAME…]", "show what containers use, each second anew", 0, topCommand, once),
			command.New("stats", "NAME", "print all numbers that the kernel has of a container", 1, statsCommand),
			command.New("events", "NAME", "print each time that a container meets a limit", 1, eventsCommand, once),
			command.New("pressure", "NAME", "show how long a container waits for what it lacks", 1, pressureCommand),
			command.New("update", "NAME", "change the limits of a container while it runs", 1, updateCommand, limitFlags()...),
			command.New("freeze", "NAME", "stop all processes of a container where they are", 1, onGroup((*cgroup.Manager).Freeze)),
			command.New("thaw", "NAME", "let them go on", 1, onGroup((*cgroup.Manager).Thaw)),
			command.New("kill", "NAME", "end all processes of a container", 1, onGroup((*cgroup.Manager).Kill)),
			command.New("gc", "", "undo what killed runs have left on the host", 0, gcCommand),
			command.New("demo", "", "show all of this", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, c.App.Writer, c.App.ErrWriter) }),
		},
	}
}

// options are what the flags of run ask for.
type options struct {
	stateDir, name string
	limits         *specs.LinuxResources
	mayMount       bool
}

func readOptions(c *cli.Context) (o options, err error) {
	o = options{name: c.String("name"), mayMount: c.Bool("may-mount")}
	o.stateDir, err = stateDir(c)
	return o, err
}

// needRoot is an error unless this process is root.
func needRoot(c *cli.Context) error {
	return command.NeedRoot(c.Command.Name, "use of root's control groups")
}

func runCommand(c *cli.Context, words []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	if o.limits, err = limitsOf(c); err != nil {
		return err
	}
	if err := wholeLimits(c, o.limits); err != nil {
		return err
	}
	if err := needRoot(c); err != nil {
		return err
	}
	root, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	return run(c.Context, o, root, words[1:])
}

// planCommand prints the plan of a container that waits to be put into a group.
func planCommand(c *cli.Context, words []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(words[0])
	if err != nil {
		return err
	}
	group, err := groupOf(o.stateDir, o.name)
	if err != nil {
		return err
	}
	box, err := newBox(o, group, root, words[1:])
	if err != nil {
		return err
	}
	p, err := box.Plan()
	if err == nil {
		err = p.Print(c.App.Writer)
	}
	return errors.Join(err, box.Namespaces.Close())
}

func gcCommand(c *cli.Context, _ []string) error {
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	if err := needRoot(c); err != nil {
		return err
	}
	return state.Collect(dir, cgroup.Undoers(), func(name string, undone []journal.Entry) {
		for _, e := range undone {
			fmt.Fprintf(c.App.Writer, "container %q: removed its %s\n", name, e.Undo)
		}
	})
}
