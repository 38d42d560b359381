package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/escape"
	"skiff.example/stage01-chroot/plan"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	return &cli.App{
		Name:  "stage01",
		Usage: "run a program in a root file system of its own",
		Commands: []*cli.Command{
			command.New("root", rootWords, "make a root file system from programs of this host, an archive, or another directory", 1, makeRoot,
				&cli.BoolFlag{Name: "plan", Usage: "only print the files, and why each is there"},
				&cli.StringFlag{Name: "tar", Usage: "unpack this `ARCHIVE`"},
				&cli.StringFlag{Name: "copy", Usage: "copy this `DIRECTORY`"}),
			command.New("plan", "ROOT COMMAND [ARGUMENT…]", "print the system calls of run", 2,
				func(c *cli.Context, words []string) error {
					p, err := container(words[0], chosenFiles(c), words[1:])
					if err != nil {
						return err
					}
					return p.Print(os.Stdout)
				}, kernelFilesFlags()...),
			command.New("run", "ROOT COMMAND [ARGUMENT…]", "run a command in a root file system", 2,
				func(c *cli.Context, words []string) error { return run(words[0], chosenFiles(c), words[1:]) },
				kernelFilesFlags()...),
			command.New("clean", "[ROOT…]", "unmount all that is below a root; without ROOT, remove what killed demonstrations have left", 0,
				func(_ *cli.Context, words []string) error { return clean(os.Stdout, words) }),
			command.New("escape", "PROGRAM [ARGUMENT…]", "leave the root that this process is in, and run a program of the host", 1, leave,
				&cli.BoolFlag{Name: "plan", Usage: "only print the system calls"},
				&cli.StringFlag{Name: "by", Value: escape.Ways[0].Name, Usage: "the `WAY` out: " + escape.Names()},
				&cli.IntFlag{Name: "fd", Value: escape.Usual.Descriptor, Usage: "the descriptor of leak"},
				&cli.IntFlag{Name: "pid", Value: escape.Usual.PID, Usage: "the process of proc"}),
			command.New("demo", "", "show all of this, and what it does not do", 0,
				func(c *cli.Context, _ []string) error { return demo(c.Context, os.Stdout) }),
		},
	}
}

// kernelFilesFlags are --dev, --proc and --sys; chosenFiles is what they ask
// for.
func kernelFilesFlags() []cli.Flag {
	var flags []cli.Flag
	for _, f := range allKernelFiles {
		flags = append(flags, &cli.BoolFlag{Name: f.name, Usage: f.about})
	}
	return flags
}

func chosenFiles(c *cli.Context) []kernelFiles {
	var chosen []kernelFiles
	for _, f := range allKernelFiles {
		if c.Bool(f.name) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// leave is the command escape.
func leave(c *cli.Context, words []string) error {
	way, err := escape.Named(c.String("by"))
	if err != nil {
		return err
	}
	p := way.Plan(escape.Outside{Descriptor: c.Int("fd"), PID: c.Int("pid")}, words, environment)
	if c.Bool("plan") {
		return p.Print(os.Stdout)
	}
	return plan.Run(p)
}
