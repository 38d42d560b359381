package main

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/container"
	"skiff.example/stage02-namespaces/launch"
	"skiff.example/stage02-namespaces/look"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:  "stage02",
		Usage: "run a program in namespaces of its own",
		// A comma is part of a mount, and not the end of it.
		DisableSliceFlagSeparator: true,
		Commands: []*cli.Command{
			command.New("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a container", 2, runCommand, runFlags...),
			command.New("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2, planCommand, runFlags...),
			command.New("new", "KIND[,KIND…] COMMAND [ARGUMENT…]", "run a command of this host in new namespaces", 2, newCommand,
				clockFlag, planFlag, explainFlag),
			command.New("join", "PID|DIR COMMAND [ARGUMENT…]", "run a command in namespaces of a process, or in kept ones", 2, joinCommand,
				&cli.StringFlag{Name: "kinds", Usage: "only those of the kinds `KIND[,KIND…]`"}, planFlag, explainFlag),
			command.New("keep", "PID DIR KIND…", "keep namespaces of a process as files in DIR, whatever becomes of it", 3, keepCommand),
			command.New("forget", "DIR", "let go of the namespaces that are kept in DIR", 1, forgetCommand),
			command.New("look", "PID", "show the namespaces of a process", 1, lookCommand,
				&cli.BoolFlag{Name: "tree", Usage: "show who shares what with whom"}),
			command.New("escape", "PROGRAM [ARGUMENT…]", "the attacks of chapter 1: leave the root that this process is in", 1, escapeCommand,
				&cli.StringFlag{Name: "by", Value: escape.Ways[0].Name, Usage: "the `WAY` out: " + escape.Names()}),
			command.New("demo", "", "show all of this", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, os.Stdout) }),
		},
	}
}

func runCommand(c *cli.Context, words []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	return run(c.Context, o, words[0], words[1:])
}

// planCommand is `run --plan`. Unlike run it does not need the right to do what
// it prints, nor the root to be there if the command is a path.
func planCommand(c *cli.Context, words []string) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	o.plan = true
	return run(c.Context, o, words[0], words[1:])
}

// printPlan prints the plan, and before it what is not in it: the birth of the
// process that carries it out.
func printPlan(w io.Writer, c *container.Container) error {
	p, err := c.Plan()
	if err != nil {
		return err
	}
	birth := launch.Options{Namespaces: c.Namespaces.Born()}.Birth()
	if _, err := fmt.Fprintf(w, "# a process born by this call of its parent\n%s\n\n", birth); err != nil {
		return err
	}
	return p.Print(w)
}

func lookCommand(c *cli.Context, words []string) error {
	pid, err := look.ParsePid(words[0])
	if err != nil {
		return err
	}
	if c.Bool("tree") {
		return look.Tree(os.Stdout, pid)
	}
	return look.Table(os.Stdout, pid)
}

func escapeCommand(c *cli.Context, words []string) error {
	way, err := escape.Named(c.String("by"))
	if err != nil {
		return err
	}
	return plan.Run(way.Plan(escape.Usual, words, container.Environment()))
}
