package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/command"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage03-cgroups/state"
	"skiff.example/stage04-overlay/layer"
	"skiff.example/stage04-overlay/overlay"
)

// The command line: which words there are, and what each of them is given.

func app() *cli.App {
	lower := &cli.StringFlag{Name: "lower", Usage: "the layers below, topmost first: `DIR[:DIR…]`"}
	return &cli.App{
		Name:  "stage04",
		Usage: "run a program in a container whose files are stacked layers",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "state", Value: "/run/skiff-stage04", Usage: "keep the containers' journals in `DIR`"},
		},
		Commands: []*cli.Command{
			command.New("run", "--lower DIR[:DIR…] COMMAND [ARGUMENT…]", "run a command in a container on layers", 1, runCommand, lower,
				&cli.StringFlag{Name: "writable", Usage: "make `DIR` for what the container writes, and keep it"},
				&cli.StringFlag{Name: "name", Value: "box", Usage: "call the container `NAME`"}),
			command.New("plan", "COMMAND [ARGUMENT…]", "print the system calls of run, on three layers", 1, planCommand),
			command.New("unpack", "TAR DIR", "make a directory from a layer", 2, unpackCommand, lower),
			command.New("pack", "DIR", "write a directory as a layer to standard output", 1, func(c *cli.Context, words []string) error {
				return layer.Write(c.App.Writer, words[0])
			}),
			command.New("diff", "DIR", "list what pack would write", 1, diffCommand),
			command.New("gc", "", "undo what killed runs have left on the host", 0, gcCommand),
			command.New("demo", "", "show all of this", 0, func(c *cli.Context, _ []string) error { return demo(c.Context, c.App.Writer) }),
		},
	}
}

// lowers are the directories of --lower.
func lowers(c *cli.Context) (dirs []string, err error) {
	if c.String("lower") == "" {
		return nil, nil
	}
	for _, dir := range strings.Split(c.String("lower"), ":") {
		path, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--lower: %w", err)
		}
		dirs = append(dirs, path)
	}
	return dirs, nil
}

func runCommand(c *cli.Context, argv []string) error {
	lower, err := lowers(c)
	if err != nil {
		return err
	}
	if len(lower) == 0 {
		return hint.Add(errors.New("run: no layers"), "name them, topmost first: stage04 run --lower DIR:DIR COMMAND")
	}
	stateDir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return err
	}
	writable := c.String("writable")
	if writable != "" {
		if writable, err = filepath.Abs(writable); err != nil {
			return err
		}
	}
	return run(c.Context, stateDir, c.String("name"), lower, writable, argv)
}

func planCommand(c *cli.Context, argv []string) error {
	box, err := box(overlay.Stack{
		Lower: []string{"/layers/3", "/layers/2", "/layers/1"},
		Upper: "/run/skiff-stage04/box/writable/upper", Work: "/run/skiff-stage04/box/writable/work",
	}, "/run/skiff-stage04/box/root", argv)
	if err != nil {
		return err
	}
	p, err := box.Plan()
	if err != nil {
		return errors.Join(err, box.Namespaces.Close())
	}
	return errors.Join(p.Print(c.App.Writer), box.Namespaces.Close())
}

func unpackCommand(c *cli.Context, words []string) error {
	lower, err := lowers(c)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(words[1])
	if err != nil {
		return err
	}
	return unpack(words[0], dir, lower)
}

// diffCommand reads the layer while it is written, and prints the names.
func diffCommand(c *cli.Context, words []string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(layer.Write(w, words[0])) }()
	defer r.Close() // ends the writer, should it still write
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.App.Writer, header.Name); err != nil {
			return err
		}
	}
}

func gcCommand(c *cli.Context, _ []string) error {
	stateDir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return err
	}
	return state.Collect(stateDir, journal.Files(), func(name string, _ []journal.Entry) {
		fmt.Fprintf(c.App.Writer, "container %q: removed its files\n", name)
	})
}
