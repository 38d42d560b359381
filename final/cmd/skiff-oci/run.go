package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/final/oci"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// The commands that make containers: run and create take a bundle, spec writes
// the configuration to start one from.

// bundleFlags are the flags of run and create.
var bundleFlags = []cli.Flag{
	&cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "the bundle's folder"},
	&cli.StringFlag{Name: "console-socket", Usage: "unix socket that gets the terminal"},
	&cli.StringFlag{Name: "pid-file", Usage: "file that gets the process's id"},
	&cli.IntFlag{Name: "preserve-fds", Usage: "how many descriptors from 3 on the program inherits"},
}

// configOf reads the bundle.
func configOf(c *cli.Context) (container.Config, error) {
	id, err := idOf(c)
	if err != nil {
		return container.Config{}, err
	}
	if n := c.Int("preserve-fds"); n < 0 {
		return container.Config{}, fmt.Errorf("%s: --preserve-fds %d: want 0 or more", c.Command.Name, n)
	}
	spec, err := oci.Load(c.String("bundle"))
	if err != nil {
		return container.Config{}, err
	}
	return container.Config{
		ID: id, Bundle: c.String("bundle"), Spec: spec, Warn: os.Stderr,
		PidFile: c.String("pid-file"), ConsoleSocket: c.String("console-socket"), KeepDescriptors: c.Int("preserve-fds"),
	}, nil
}

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "create a container, start it, wait for its end, delete it", ArgsUsage: "ID",
		Flags: append([]cli.Flag{&cli.BoolFlag{Name: "explain", Usage: "print each step and how long it took"}}, bundleFlags...),
		Action: func(c *cli.Context) error {
			signals := container.CatchSignals() // meanwhile, the configuration is read
			config, err := configOf(c)
			if err != nil {
				return err
			}
			config.Signals = signals
			var observe func(*plan.Plan, []launch.Timing)
			if c.Bool("explain") {
				config.Timed = true
				observe = func(p *plan.Plan, times []launch.Timing) { launch.Explain(os.Stderr, times) }
			}
			status, err := runtimeOf(c).Run(config, observe)
			if err != nil {
				return err
			}
			return exitStatusOrNil(status)
		},
	}
}

// exitStatusOrNil makes an error of a status other than 0.
func exitStatusOrNil(status int) error {
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

func createCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "create a container, up to its program", ArgsUsage: "ID", Flags: bundleFlags,
		Action: func(c *cli.Context) error {
			config, err := configOf(c)
			if err != nil {
				return err
			}
			return runtimeOf(c).Create(config)
		},
	}
}

func specCommand() *cli.Command {
	return &cli.Command{
		Name: "spec", Usage: "write a config.json to start from",
		Flags: []cli.Flag{bundleFlags[0]},
		Action: func(c *cli.Context) error {
			file := filepath.Join(c.String("bundle"), "config.json")
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return fmt.Errorf("write a config.json: %w", err)
			}
			defer f.Close()
			return oci.WriteSpec(f, oci.Default())
		},
	}
}
