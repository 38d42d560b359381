package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage01-chroot/rootfs"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:            "stage01",
		Usage:           "run a program in a root file system of its own",
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main does it
		Commands: []*cli.Command{
			command("root", "DIR PROGRAM…", "make a root file system from programs of this host", 2,
				func(_ *cli.Context, words []string) error { return makeRoot(words[0], words[1:]) }),
			command("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2,
				func(_ *cli.Context, words []string) error { return printed(container(words[0], words[1:])) }),
			command("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a root file system", 2,
				func(_ *cli.Context, words []string) error { return run(words[0], words[1:]) }),
			command("escape", "PROGRAM [ARGUMENT…]", "leave the root that this process is in, and run a program of the host", 1,
				func(c *cli.Context, words []string) error {
					if c.Bool("plan") {
						return printed(escape.Plan(words, environment), nil)
					}
					return plan.Run(escape.Plan(words, environment))
				}, &cli.BoolFlag{Name: "plan", Usage: "only print the system calls"}),
			command("demo", "", "show all of this, and what it does not do", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, os.Stdout) }),
		},
	}
}

// command is a command that wants at least some words. What follows the first
// one belongs to the program to be run, even where it looks like a flag.
func command(name, words, usage string, least int, do func(*cli.Context, []string) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: words, Usage: usage, Flags: flags,
		Action: func(c *cli.Context) error {
			if c.NArg() < least {
				return hint.Add(fmt.Errorf("%s: too few arguments", name), "usage: stage01 "+name+" "+words)
			}
			return do(c, c.Args().Slice())
		},
	}
}

// makeRoot writes a root file system with these programs, and all that they
// need, to dir.
func makeRoot(dir string, programs []string) error {
	closure, err := rootfs.FromPrograms(programs...)
	if err != nil {
		return err
	}
	return closure.Write(dir)
}

// printed prints a plan, unless it could not be made.
func printed(p *plan.Plan, err error) error {
	if err != nil {
		return err
	}
	return p.Print(os.Stdout)
}
