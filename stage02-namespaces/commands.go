package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/namespace"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:            "stage02",
		Usage:           "run a program in namespaces of its own",
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main does it
		Commands: []*cli.Command{
			command("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2,
				func(c *cli.Context, words []string) error {
					return printPlan(os.Stdout, words[0], c.String("hostname"), words[1:])
				},
				hostnameFlag),
			command("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a container", 2,
				func(c *cli.Context, words []string) error {
					return run(c.Context, words[0], c.String("hostname"), words[1:])
				},
				hostnameFlag),
			command("look", "PID", "show the namespaces of a process beside our own", 1,
				func(_ *cli.Context, words []string) error { return look(os.Stdout, words[0]) }),
			command("escape", "PROGRAM [ARGUMENT…]", "the attack of chapter 1: leave the root that this process is in", 1,
				func(_ *cli.Context, words []string) error { return plan.Run(escape.Plan(words, environment)) }),
			command("demo", "", "show all of this", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, os.Stdout) }),
		},
	}
}

var hostnameFlag = &cli.StringFlag{Name: "hostname", Value: "container", Usage: "the container's host name"}

// command is a command that wants at least some words. What follows the first
// one belongs to the program to be run, even where it looks like a flag.
func command(name, words, usage string, least int, do func(*cli.Context, []string) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: words, Usage: usage, Flags: flags,
		Action: func(c *cli.Context) error {
			if c.NArg() < least {
				return hint.Add(fmt.Errorf("%s: too few arguments", name), "usage: stage02 "+name+" "+words)
			}
			return do(c, c.Args().Slice())
		},
	}
}

// printPlan prints the plan, and before it what is not in it: the birth of the
// process that carries it out.
func printPlan(w io.Writer, root, hostname string, argv []string) error {
	p, err := container(root, hostname, argv)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "# a process born by clone3 with %s\n\n", plan.CloneFlags(kinds)); err != nil {
		return err
	}
	return p.Print(w)
}

// look prints a line for each kind of namespace: its name, whether the process
// shares it with us, its identity, and what a process sees through it.
func look(w io.Writer, word string) error {
	pid, err := strconv.Atoi(word)
	if err != nil {
		return fmt.Errorf("look: %q is not a process id", word)
	}
	theirs, err := namespace.Of(pid)
	if err != nil {
		return err
	}
	ours, err := namespace.Of(os.Getpid())
	if err != nil {
		return err
	}
	for _, k := range namespace.Kinds {
		whose := "its own"
		if theirs[k.Type] == ours[k.Type] {
			whose = "shared"
		}
		if _, err := fmt.Fprintf(w, "%-7s %-8s %-20s %s\n", k.File, whose, theirs[k.Type], k.What); err != nil {
			return err
		}
	}
	return nil
}
