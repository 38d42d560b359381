package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/stage01-chroot/hint"
)

// checkpoint and restore: a container's processes into files, and back, by criu(8).

// criuOptions are the flags that criu has under the same name.
var criuOptions = []string{"tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "link-remap"}

// criuFlags are the flags of both commands.
func criuFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "image-path", Value: "checkpoint", Usage: "folder for the images"},
		&cli.StringFlag{Name: "work-path", Usage: "folder for criu's log (default: that of the images)"},
		&cli.BoolFlag{Name: "tcp-established", Usage: "also connections that are open"},
		&cli.BoolFlag{Name: "ext-unix-sk", Usage: "also unix sockets whose other end is outside"},
		&cli.BoolFlag{Name: "shell-job", Usage: "also processes of a session that is outside"},
		&cli.BoolFlag{Name: "file-locks", Usage: "also locks on files"},
		&cli.StringFlag{Name: "manage-cgroups-mode", Value: "soft", Usage: "what becomes of cgroups: soft, full, strict or ignore"},
		&cli.StringSliceFlag{Name: "empty-ns", Usage: "network: do not look into that namespace"},
		&cli.BoolFlag{Name: "auto-dedup", Usage: "drop memory that a later image has too"},
		&cli.BoolFlag{Name: "lazy-pages", Usage: "fetch memory when it is needed (not supported)"},
	}, more...)
}

// criuOf reads them.
func criuOf(c *cli.Context) (criu container.Criu, err error) {
	for _, name := range []string{"lazy-pages", "page-server", "status-fd"} {
		if c.IsSet(name) {
			return criu, fmt.Errorf("%s: --%s: not supported: the images are files", c.Command.Name, name)
		}
	}
	criu = container.Criu{Program: c.String("criu"), Cgroups: c.String("manage-cgroups-mode")}
	if !slices.Contains([]string{"soft", "full", "strict", "ignore"}, criu.Cgroups) {
		return criu, fmt.Errorf("%s: --manage-cgroups-mode %q: want soft, full, strict or ignore", c.Command.Name, criu.Cgroups)
	}
	if container.OrdinaryUser() {
		return criu, hint.Add(fmt.Errorf("%s: an ordinary user cannot do this", c.Command.Name), "criu(8) takes the rights of root")
	}
	for _, name := range criuOptions {
		if c.Bool(name) {
			criu.Options = append(criu.Options, "--"+name)
		}
	}
	if c.Bool("tcp-skip-in-flight") {
		criu.Options = append(criu.Options, "--skip-in-flight")
	}
	for _, name := range c.StringSlice("empty-ns") {
		if name != "network" {
			return criu, fmt.Errorf("%s: --empty-ns %q: want network", c.Command.Name, name)
		}
		criu.Options = append(criu.Options, "--empty-ns", "net")
	}
	for flag, option := range map[string]string{"parent-path": "--prev-images-dir", "lsm-profile": "--lsm-profile", "lsm-mount-context": "--lsm-mount-context"} {
		if value := c.String(flag); value != "" {
			criu.Options = append(criu.Options, option, value)
		}
	}
	if criu.Images, err = filepath.Abs(c.String("image-path")); err == nil && c.IsSet("work-path") {
		criu.Work, err = filepath.Abs(c.String("work-path"))
	}
	for _, dir := range []string{criu.Images, criu.Work} {
		if dir != "" && err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
	}
	return criu, err
}

func checkpointCommand() *cli.Command {
	return onContainer("checkpoint", "write a running container's processes into files", func(c *cli.Context, id string) error {
		if filepath.IsAbs(c.String("parent-path")) {
			return errors.New("checkpoint: --parent-path is seen from --image-path, as ../first")
		}
		criu, err := criuOf(c)
		if err != nil {
			return err
		}
		return runtimeOf(c).Checkpoint(id, criu, c.Bool("pre-dump"), c.Bool("leave-running"))
	}, criuFlags(
		&cli.StringFlag{Name: "parent-path", Usage: "images of a --pre-dump that these continue, seen from --image-path"},
		&cli.BoolFlag{Name: "leave-running", Usage: "do not end the container"},
		&cli.BoolFlag{Name: "pre-dump", Usage: "only its memory, and do not end the container"},
		&cli.BoolFlag{Name: "link-remap", Usage: "also open files that were removed"},
		&cli.BoolFlag{Name: "tcp-skip-in-flight", Usage: "without connections that are just being made"},
		&cli.StringFlag{Name: "page-server", Usage: "ADDRESS:PORT to send the images to (not supported)"},
		&cli.IntFlag{Name: "status-fd", Value: -1, Usage: "for --lazy-pages (not supported)"},
	)...)
}

func restoreCommand() *cli.Command {
	return onContainer("restore", "make a container of such files", func(c *cli.Context, id string) error {
		criu, err := criuOf(c)
		if err != nil {
			return err
		}
		config, err := configOf(c, id)
		if err != nil {
			return err
		}
		status, err := runtimeOf(c).Restore(config, criu, c.Bool("detach"))
		if err != nil {
			return err
		}
		return exitStatusOrNil(status)
	}, criuFlags(
		bundleFlag,
		&cli.StringFlag{Name: "console-socket", Usage: "for runc's users: a container with a terminal is not restored"},
		&cli.StringFlag{Name: "pid-file", Usage: "file that gets the process's id"},
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait for its end"},
		&cli.BoolFlag{Name: "no-subreaper", Usage: "for runc's users: processes are never adopted here"},
		&cli.BoolFlag{Name: "no-pivot", Usage: "for runc's users: criu replaces the root in its own way"},
		&cli.StringFlag{Name: "lsm-profile", Usage: "TYPE:NAME of the label or profile that the processes get"},
		&cli.StringFlag{Name: "lsm-mount-context", Usage: "SELinux label that mounts get"},
	)...)
}
