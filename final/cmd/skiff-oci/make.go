package main

import (
	"errors"
	"fmt"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/final/oci"
)

// The commands that make containers from a bundle, and begin them: create, start,
// run.

// bundleFlag is the flag of create, run and spec.
var bundleFlag = commandline.Flag{Kind: commandline.String, Name: "bundle", Short: "b", Default: ".", Usage: "the bundle's folder"}

// processFlags are the flags of all commands that start a process: run, create, exec.
var processFlags = []commandline.Flag{
	{Kind: commandline.String, Name: "console-socket", Usage: "unix socket that gets the terminal's master"},
	{Kind: commandline.String, Name: "pidfd-socket", Usage: "unix socket that gets a descriptor of the process"},
	{Kind: commandline.String, Name: "pid-file", Usage: "file that gets the process's id"},
	{Kind: commandline.Int, Name: "preserve-fds", Usage: "how many descriptors from 3 on the program inherits"},
	explainFlag,
}

// optionsOf reads them.
func optionsOf(c *commandline.Context) (container.Options, error) {
	kept := int(c.Int("preserve-fds"))
	if kept < 0 {
		return container.Options{}, fmt.Errorf("--preserve-fds %d: want 0 or more", kept)
	}
	return container.Options{
		PidFile: c.String("pid-file"), PidfdSocket: c.String("pidfd-socket"), ConsoleSocket: c.String("console-socket"),
		KeepDescriptors: kept, Warn: logOf(c), Timed: explains(c), Observe: observer(c),
	}, nil
}

// makeFlags are those that run and create have beside them.
var makeFlags = []commandline.Flag{
	bundleFlag,
	{Name: "no-pivot", Usage: "cover the host's root instead of replacing it, where that is an initramfs"},
	{Name: "no-new-keyring", Usage: "leave the program the caller's session keyring"},
}

// configOf reads the bundle.
func configOf(c *commandline.Context, id string) (container.Config, error) {
	options, err := optionsOf(c)
	if err != nil {
		return container.Config{}, fmt.Errorf("%s: %w", c.Command, err)
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

func createCommand() commandline.Command {
	return onContainer("create a container, up to its program", func(c *commandline.Context, id string) error {
		config, err := configOf(c, id)
		if err != nil {
			return err
		}
		if err := runtimeOf(c).Create(config); err != nil {
			return err
		}
		return explainReport(c, id)
	}, processFlags, makeFlags)
}

func startCommand() commandline.Command {
	return onContainer("run the program of a created container", func(c *commandline.Context, id string) error {
		if err := measure(c, id); err != nil {
			return err
		}
		if err := runtimeOf(c).Start(id); err != nil {
			return err
		}
		return explainReport(c, id)
	}, []commandline.Flag{explainFlag})
}

func runCommand() commandline.Command {
	return onContainer("create a container, start it, wait for its end, delete it", run, processFlags, makeFlags, []commandline.Flag{
		{Name: "detach", Short: "d", Usage: "do not wait for its end"},
		{Name: "keep", Usage: "do not delete it at its end"},
		{Name: "no-subreaper", Usage: "for runc's users: processes are never adopted here"},
	})
}

func run(c *commandline.Context, id string) error {
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
func runDetached(c *commandline.Context, config container.Config) error {
	r := runtimeOf(c)
	if err := r.Create(config); err != nil {
		return err
	}
	if err := r.Start(config.ID); err != nil {
		return errors.Join(err, r.Delete(config.ID, true))
	}
	return explainReport(c, config.ID)
}
