package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/stage01-chroot/hint"
)

// checkpoint and restore: a container's processes into files, and back, by criu(8).

// criuOptions are the flags that criu has under the same name.
var criuOptions = []string{"tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "link-remap"}

// criuFlags are the flags of both commands.
var criuFlags = []commandline.Flag{
	{Kind: commandline.String, Name: "image-path", Default: "checkpoint", Usage: "folder for the images"},
	{Kind: commandline.String, Name: "work-path", Usage: "folder for criu's log (default: that of the images)"},
	{Name: "tcp-established", Usage: "also connections that are open"},
	{Name: "ext-unix-sk", Usage: "also unix sockets whose other end is outside"},
	{Name: "shell-job", Usage: "also processes of a session that is outside"},
	{Name: "file-locks", Usage: "also locks on files"},
	{Kind: commandline.String, Name: "manage-cgroups-mode", Default: "soft", Usage: "what becomes of cgroups: soft, full, strict or ignore"},
	{Kind: commandline.Strings, Name: "empty-ns", Usage: "network: do not look into that namespace"},
	{Name: "auto-dedup", Usage: "drop memory that a later image has too"},
	{Name: "lazy-pages", Usage: "fetch memory when it is needed (not supported)"},
}

// criuOf reads them.
func criuOf(c *commandline.Context) (criu container.Criu, err error) {
	for _, name := range []string{"lazy-pages", "page-server", "status-fd"} {
		if c.IsSet(name) {
			return criu, fmt.Errorf("%s: --%s: not supported: the images are files", c.Command, name)
		}
	}
	criu = container.Criu{Program: c.String("criu"), Cgroups: c.String("manage-cgroups-mode")}
	if !slices.Contains([]string{"soft", "full", "strict", "ignore"}, criu.Cgroups) {
		return criu, fmt.Errorf("%s: --manage-cgroups-mode %q: want soft, full, strict or ignore", c.Command, criu.Cgroups)
	}
	if container.OrdinaryUser() {
		return criu, hint.Add(fmt.Errorf("%s: an ordinary user cannot do this", c.Command), "criu(8) takes the rights of root")
	}
	for _, name := range criuOptions {
		if c.Bool(name) {
			criu.Options = append(criu.Options, "--"+name)
		}
	}
	if c.Bool("tcp-skip-in-flight") {
		criu.Options = append(criu.Options, "--skip-in-flight")
	}
	for _, name := range c.Strings("empty-ns") {
		if name != "network" {
			return criu, fmt.Errorf("%s: --empty-ns %q: want network", c.Command, name)
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

func checkpointCommand() commandline.Command {
	return onContainer("write a running container's processes into files", func(c *commandline.Context, id string) error {
		if filepath.IsAbs(c.String("parent-path")) {
			return errors.New("checkpoint: --parent-path is seen from --image-path, as ../first")
		}
		criu, err := criuOf(c)
		if err != nil {
			return err
		}
		return runtimeOf(c).Checkpoint(id, criu, c.Bool("pre-dump"), c.Bool("leave-running"))
	}, criuFlags, []commandline.Flag{
		{Kind: commandline.String, Name: "parent-path", Usage: "images of a --pre-dump that these continue, seen from --image-path"},
		{Name: "leave-running", Usage: "do not end the container"},
		{Name: "pre-dump", Usage: "only its memory, and do not end the container"},
		{Name: "link-remap", Usage: "also open files that were removed"},
		{Name: "tcp-skip-in-flight", Usage: "without connections that are just being made"},
		{Kind: commandline.String, Name: "page-server", Usage: "ADDRESS:PORT to send the images to (not supported)"},
		{Kind: commandline.Int, Name: "status-fd", Default: "-1", Usage: "for --lazy-pages (not supported)"},
	})
}

func restoreCommand() commandline.Command {
	return onContainer("make a container of such files", func(c *commandline.Context, id string) error {
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
	}, criuFlags, []commandline.Flag{
		bundleFlag,
		{Kind: commandline.String, Name: "console-socket", Usage: "for runc's users: a container with a terminal is not restored"},
		{Kind: commandline.String, Name: "pid-file", Usage: "file that gets the process's id"},
		{Name: "detach", Short: "d", Usage: "do not wait for its end"},
		{Name: "no-subreaper", Usage: "for runc's users: processes are never adopted here"},
		{Name: "no-pivot", Usage: "for runc's users: criu replaces the root in its own way"},
		{Kind: commandline.String, Name: "lsm-profile", Usage: "TYPE:NAME of the label or profile that the processes get"},
		{Kind: commandline.String, Name: "lsm-mount-context", Usage: "SELinux label that mounts get"},
	})
}
