package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/final/oci"
)

// The commands that make containers from a bundle, and begin them: create, start,
// run.

// bundleFlag is the flag of create, run and spec.
var bundleFlag = &cli.StringFlag{Name: "bundle", Aliases: []string{"b"}, Value: ".", Usage: "the bundle's folder"}

// makeFlags are the flags of run and create.
func makeFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		bundleFlag,
		&cli.StringFlag{Name: "console-socket", Usage: "unix socket that gets the terminal's master"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "unix socket that gets a descriptor of the process"},
		&cli.StringFlag{Name: "pid-file", Usage: "file that gets the process's id"},
		&cli.BoolFlag{Name: "no-pivot", Usage: "cover the host's root instead of replacing it, where that is an initramfs"},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "leave the program the caller's session keyring"},
		&cli.IntFlag{Name: "preserve-fds", Usage: "how many descriptors from 3 on the program inherits"},
		explainFlag(),
	}, more...)
}

// configOf reads the bundle.
func configOf(c *cli.Context, id string) (container.Config, error) {
	if n := c.Int("preserve-fds"); n < 0 {
		return container.Config{}, fmt.Errorf("%s: --preserve-fds %d: want 0 or more", c.Command.Name, n)
	}
	spec, text, err := oci.Load(c.String("bundle"))
	if err != nil {
		return container.Config{}, err
	}
	config := container.Config{
		ID: id, Bundle: c.String("bundle"), Spec: spec, Text: text, Warn: logOf(c), NoNewKeyring: c.Bool("no-new-keyring"),
		NoPivot: c.Bool("no-pivot"), Timed: explains(c),
		PidFile: c.String("pid-file"), PidfdSocket: c.String("pidfd-socket"), ConsoleSocket: c.String("console-socket"),
		KeepDescriptors: c.Int("preserve-fds"),
	}
	config.InheritListeners()
	return config, nil
}

func createCommand() *cli.Command {
	return onContainer("create", "create a container, up to its program", func(c *cli.Context, id string) error {
		config, err := configOf(c, id)
		if err != nil {
			return err
		}
		if err := runtimeOf(c).Create(config); err != nil {
			return err
		}
		return explainReport(c, id)
	}, makeFlags()...)
}

func startCommand() *cli.Command {
	return onContainer("start", "run the program of a created container", func(c *cli.Context, id string) error {
		if err := measure(c, id); err != nil {
			return err
		}
		if err := runtimeOf(c).Start(id); err != nil {
			return err
		}
		return explainReport(c, id)
	}, explainFlag())
}

func runCommand() *cli.Command {
	return onContainer("run", "create a container, start it, wait for its end, delete it", run, makeFlags(
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for its end"},
		&cli.BoolFlag{Name: "keep", Usage: "do not delete it at its end"},
		&cli.BoolFlag{Name: "no-subreaper", Usage: "for runc's users: processes are never adopted here"},
	)...)
}

func run(c *cli.Context, id string) error {
	var signals *container.Signals
	if !c.Bool("detach") {
		signals = container.CatchSignals() // meanwhile, the configuration is read
	}
	config, err := configOf(c, id)
	if err != nil {
		return err
	}
	if c.Bool("detach") {
		return runDetached(c, config)
	}
	if config.ConsoleSocket != "" {
		return errors.New("run: --console-socket is for --detach: without it, the terminal is the caller's own")
	}
	config.Signals, config.Keep = signals, c.Bool("keep")
	status, err := runtimeOf(c).Run(config, observer(c))
	if err != nil {
		return err
	}
	return exitStatusOrNil(status)
}

// runDetached is create and start; after a failure nothing is left.
func runDetached(c *cli.Context, config container.Config) error {
	r := runtimeOf(c)
	if err := r.Create(config); err != nil {
		return err
	}
	if err := r.Start(config.ID); err != nil {
		return errors.Join(err, r.Delete(config.ID, true))
	}
	return explainReport(c, config.ID)
}
