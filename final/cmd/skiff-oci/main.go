// Command skiff-oci is a runtime in the sense of the OCI runtime
// specification, with the command line of runc: it runs a bundle, a folder
// with a config.json and a root file system.
//
// Go looks for the limit of its own cgroup when it starts, and would keep those files
// of the host open, so that a container's process is born with them. The settings
// below are against it: package runtime, GOMAXPROCS.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	_ "skiff.example/final/shortlived" // begins with the memory that a command needs
	"skiff.example/stage01-chroot/hint"
)

// version is that of skiff-oci.
const version = "0.1.0"

// The exit statuses of failures of skiff-oci itself, as runc has them: programs
// that use exec tell its failures from those of what it runs.
const (
	exitFailure     = 1
	exitExecFailure = 255
)

func main() {
	app := newApp(os.Args[1:])
	err := app.Run(os.Args)
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case errors.As(err, new(execFailure)):
		os.Exit(exitExecFailure)
	case err != nil:
		os.Exit(exitFailure)
	}
}

// newApp is the command line. An error is told before it gets to main: where the
// log is, only the command line knows.
func newApp(args []string) *cli.App {
	app := &cli.App{
		Name:    "skiff-oci",
		Usage:   "run containers as the OCI runtime specification says",
		Version: fmt.Sprintf("%s\nspec: %s\ngo: %s", version, specs.Version, runtime.Version()),
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "debug", Usage: "also log what is done"},
			&cli.StringFlag{Name: "log", Usage: "file for warnings and errors, beside standard error"},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
			&cli.StringFlag{Name: "criu", Value: "criu", Usage: "the program that checkpoints and restores"},
			&cli.StringFlag{Name: "root", Value: stateFolder(), Usage: "folder for the state of containers"},
			&cli.BoolFlag{Name: "systemd-cgroup", Usage: "let systemd make the cgroups (not supported)"},
			&cli.StringFlag{Name: "rootless", Value: "auto", Usage: "true, false or auto: whether the caller is an ordinary user"},
		},
		Commands: []*cli.Command{
			checkpointCommand(), createCommand(), deleteCommand(), eventsCommand(), execCommand(), featuresCommand(), killCommand(), listCommand(),
			pauseCommand(), psCommand(), restoreCommand(), resumeCommand(), runCommand(), specCommand(), startCommand(), stateCommand(), updateCommand(),
		},
		Before:         before,
		ExitErrHandler: report,
		Action:         unknownCommand,
		OnUsageError:   usageError,
	}
	app.Flags, app.Commands = named(app.Flags), meant(app.Commands, args)
	for _, command := range app.Commands {
		command.OnUsageError, command.HideHelpCommand = usageError, true // a container may be called "help"
		command.Flags = named(command.Flags)
	}
	return app
}

// stateFolder is where the state of containers is if --root does not say: an
// ordinary user has no other place in /run than his own (XDG Base Directory
// Specification; file-hierarchy(7)), and runc's users know it there.
func stateFolder() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && container.OrdinaryUser() {
		return filepath.Join(dir, "skiff-oci")
	}
	return "/run/skiff-oci"
}

// before checks the flags that all commands have.
func before(c *cli.Context) error {
	if format := c.String("log-format"); format != "text" && format != "json" {
		return fmt.Errorf("--log-format %q: want text or json", format)
	}
	if mode := c.String("rootless"); mode != "auto" && mode != "true" && mode != "false" {
		return fmt.Errorf("--rootless %q: want true, false or auto", mode)
	}
	if c.Bool("systemd-cgroup") {
		err := errors.New("--systemd-cgroup: skiff-oci makes the cgroups itself")
		if _, failed := os.Stat("/run/systemd/system"); failed != nil {
			err = errors.New("--systemd-cgroup: this machine is not run by systemd")
		}
		return hint.Add(err, "leave the flag out, and tell the engine to use the cgroupfs driver: podman --cgroup-manager=cgroupfs, "+
			"dockerd --exec-opt native.cgroupdriver=cgroupfs, containerd SystemdCgroup = false")
	}
	if again := []string{"create", "run", "exec"}; !slices.Contains(again, c.Args().First()) || !container.Restarts() {
		logOf(c).debug("skiff-oci %q", os.Args[1:])
	}
	return nil
}

// report tells an error, on standard error and in the log.
func report(c *cli.Context, err error) {
	if err == nil || errors.As(err, new(exitStatus)) {
		return
	}
	hint.Print(standardError{}, "skiff-oci", err)
	logOf(c).write("error", withHint(err))
}

// withHint is an error in one line.
func withHint(err error) string {
	if h := hint.Of(err); h != "" {
		return fmt.Sprintf("%v (hint: %s)", err, h)
	}
	return err.Error()
}

// usageError makes a wrong flag an error like others: one line and a hint.
func usageError(c *cli.Context, err error, _ bool) error {
	return hint.Add(err, "the flags are listed by: "+c.Command.HelpName+" --help")
}

// unknownCommand is what runs when none of the commands is meant.
func unknownCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	return hint.Add(fmt.Errorf("unknown command %q", c.Args().First()), "the commands are listed by: "+c.App.Name+" --help")
}

// exitStatus is the status of a container's program, on its way to main.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// exitStatusOrNil makes an error of a status other than 0.
func exitStatusOrNil(status int) error {
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

// runtimeOf is the runtime with the state folder that --root names.
func runtimeOf(c *cli.Context) *container.Runtime {
	return &container.Runtime{Root: c.String("root"), Warn: logOf(c)}
}

// idOf is the one argument of most commands.
func idOf(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", hint.Add(fmt.Errorf("%s: got %d arguments, want the id of a container", c.Command.Name, c.NArg()),
			"skiff-oci "+c.Command.Name+" --help")
	}
	return c.Args().First(), nil
}

// onContainer is a command whose only argument is a container.
func onContainer(name, usage string, do func(*cli.Context, string) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{Name: name, Usage: usage, ArgsUsage: "ID", Flags: flags, Action: func(c *cli.Context) error {
		id, err := idOf(c)
		if err != nil {
			return err
		}
		return do(c, id)
	}}
}
