package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/final/engine"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// skiff run: the words of the command line, as docker run has them, become
// engine.Options.

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run a command in a new container; pull its image first if need be",
		ArgsUsage: "IMAGE [COMMAND [ARG…]]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "the container's id; one is made up otherwise"},
			&cli.StringFlag{Name: "hostname", Usage: "its host name; its id otherwise"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "a variable, NAME=value"},
			&cli.StringFlag{Name: "entrypoint", Usage: "the program that gets the arguments, instead of the image's"},
			&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "the working directory"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "the user, NAME or ID, and perhaps :GROUP"},
			&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "a file or folder of the host, SOURCE:DESTINATION[:ro]"},
			&cli.StringFlag{Name: "memory", Aliases: []string{"m"}, Usage: "memory limit in bytes, or with k, m, g"},
			&cli.Float64Flag{Name: "cpus", Usage: "how many processors' time it may use"},
			&cli.Int64Flag{Name: "pids-limit", Usage: "how many processes and threads it may have"},
			&cli.StringFlag{Name: "network", Value: "bridge", Usage: "bridge, none or host"},
			&cli.BoolFlag{Name: "read-only", Usage: "make the root read-only"},
			&cli.BoolFlag{Name: "init", Usage: "start the program as the child of a small process 1, which waits for orphans and passes signals on"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "give it a terminal"},
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "accepted for docker's users: stdin is always there"},
			&cli.BoolFlag{Name: "rm", Usage: "accepted for docker's users: nothing stays in any case"},
			&cli.BoolFlag{Name: "explain", Usage: "print each system call of the container's making, and how long it took"},
			platformFlag,
		},
		UseShortOptionHandling: true,
		Action: func(c *cli.Context) error {
			if err := container.Protect(); err != nil {
				return err
			}
			options, err := optionsOf(c)
			if err != nil {
				return err
			}
			status, err := engineOf(c).Run(c.Context, options)
			if err != nil {
				return err
			}
			if status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
}

// optionsOf reads the flags of run.
func optionsOf(c *cli.Context) (engine.Options, error) {
	if c.NArg() == 0 {
		return engine.Options{}, hint.Add(errors.New("run: which image?"), "skiff run IMAGE [COMMAND [ARG…]]")
	}
	o := engine.Options{
		Image: c.Args().First(), Args: c.Args().Tail(),
		Name: c.String("name"), Hostname: c.String("hostname"), Env: c.StringSlice("env"), WorkDir: c.String("workdir"),
		User: c.String("user"), ReadOnly: c.Bool("read-only"), Init: c.Bool("init"), Terminal: c.Bool("tty"),
		CPUs: c.Float64("cpus"), Pids: c.Int64("pids-limit"), Network: c.String("network"),
	}
	if c.Bool("explain") {
		o.Explain = os.Stderr
	}
	var err error
	if text := c.String("memory"); text != "" {
		if o.Memory, err = units.RAMInBytes(text); err != nil {
			return o, fmt.Errorf("run: memory limit %q: %w", text, err)
		}
	}
	for _, text := range c.StringSlice("volume") {
		v, err := parseVolume(text)
		if err != nil {
			return o, err
		}
		o.Volumes = append(o.Volumes, v)
	}
	if c.IsSet("entrypoint") {
		// "" is none, in docker too.
		o.Entrypoint = slices.DeleteFunc([]string{c.String("entrypoint")}, func(word string) bool { return word == "" })
	}
	o.Platform, err = image.ParsePlatform(c.String("platform"))
	return o, err
}

// parseVolume reads SOURCE:DESTINATION[:ro].
func parseVolume(text string) (engine.Volume, error) {
	parts := strings.Split(text, ":")
	wrong := len(parts) < 2 || len(parts) > 3 || !strings.HasPrefix(parts[0], "/") || !strings.HasPrefix(parts[1], "/") ||
		len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw"
	if wrong {
		return engine.Volume{}, fmt.Errorf("run: volume %q: want SOURCE:DESTINATION[:ro], both absolute paths", text)
	}
	return engine.Volume{Source: parts[0], Destination: parts[1], ReadOnly: len(parts) == 3 && parts[2] == "ro"}, nil
}
