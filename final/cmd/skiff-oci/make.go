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

// processFlags are the flags of all commands that start a process: run, create, exec.
func processFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "console-socket", Usage: "unix socket that gets the terminal's master"},
		&cli.StringFlag{Name: "pidfd-socket", Usage: "unix socket that gets a descriptor of the process"},
		&cli.StringFlag{Name: "pid-file", Usage: "file that gets the process's id"},
		&cli.IntFlag{Name: "preserve-fds", Usage: "how many descriptors from 3 on the program inherits"},
		explainFlag(),
	}, more...)
}

// optionsOf reads them.
func optionsOf(c *cli.Context) (container.Options, error) {
	kept := c.Int("preserve-fds")
	if kept < 0 {
		return container.Options{}, fmt.Errorf("--preserve-fds %d: want 0 or more", kept)
	}
	return container.Options{
		PidFile: c.String("pid-file"), PidfdSocket: c.String("pidfd-socket"), ConsoleSocket: c.String("console-socket"),
		KeepDescriptors: kept, Warn: logOf(c), Timed: explains(c), Observe: observer(c),
	}, nil
}

// makeFlags are the flags of run and create.
func makeFlags(more ...cli.Flag) []cli.Flag {
	return append(processFlags(
		bundleFlag,
		&cli.BoolFlag{Name: "no-pivot", Usage: "cover the host's root instead of replacing it, where that is an initramfs"},
		&cli.BoolFlag{Name: "no-new-keyring", Usage: "leave the program the caller's session keyring"},
	), more...)
}

// configOf reads the bundle.
func configOf(c *cli.Context, id string) (container.Config, error) {
	options, err := optionsOf(c)
	if err != nil {
		return container.Config{}, fmt.Errorf("%s: %w", c.Command.Name, err)
	}
	spec, text, err := oci.Load(c.String("bundle"))
	if err != nil {
		return container.Config{}, err
	}
	config := container.Config{
		ID: id, Bundle: c.String("bundle"), Spec: spec, Text: text, Options: options, NoNewKeyring: c.Bool("no-new-keyring"),
		NoPivot: c.Bool("no-pivot"),
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
	config.Keep = c.Bool("keep")
	status, err := runtimeOf(c).Run(config)
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
