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

	"skiff.example/final/commandline"
	"skiff.example/final/container"
	"skiff.example/final/shortlived"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan/machine"
)

// version is that of skiff-oci.
const version = "0.1.0"

// The exit statuses of failures of skiff-oci itself, as runc has them: programs
// that use exec tell its failures from those of what it runs.
const (
	exitFailure        = 1
	exitUnknownCommand = 3
	exitExecFailure    = 255
)

func main() {
	machine.TimerSlack = shortlived.TimerSlack()
	c, err := newApp().Run(os.Args[1:])
	var status exitStatus
	if errors.As(err, &status) {
		os.Exit(int(status))
	}
	if err != nil {
		hint.Print(standardError{}, "skiff-oci", err)
		logOf(c).write("error", withHint(err))
		os.Exit(failureStatus(err))
	}
}

// failureStatus is the exit status of an error.
func failureStatus(err error) int {
	switch {
	case errors.As(err, new(execFailure)):
		return exitExecFailure
	case errors.Is(err, commandline.ErrUnknownCommand):
		return exitUnknownCommand
	}
	return exitFailure
}

// newApp is the command line.
func newApp() *commandline.App {
	return &commandline.App{
		Name:    "skiff-oci",
		Usage:   "run containers as the OCI runtime specification says",
		Version: version + "\nspec: " + specs.Version + "\ngo: " + runtime.Version(),
		Flags: []commandline.Flag{
			{Name: "debug", Usage: "also log what is done"},
			{Kind: commandline.String, Name: "log", Usage: "file for warnings and errors, beside standard error"},
			{Kind: commandline.String, Name: "log-format", Default: "text", Usage: "text or json"},
			{Kind: commandline.String, Name: "criu", Default: "criu", Usage: "the program that checkpoints and restores"},
			{Kind: commandline.String, Name: "root", Default: stateFolder(), Usage: "folder for the state of containers"},
			{Name: "systemd-cgroup", Usage: "let systemd make the cgroups (not supported)"},
			{Kind: commandline.String, Name: "rootless", Default: "auto", Usage: "true, false or auto: whether the caller is an ordinary user"},
		},
		Commands: []commandline.Entry{
			{Name: "checkpoint", Command: checkpointCommand},
			{Name: "create", Command: createCommand},
			{Name: "delete", Command: deleteCommand},
			{Name: "events", Command: eventsCommand},
			{Name: "exec", Command: execCommand},
			{Name: "features", Command: featuresCommand},
			{Name: "kill", Command: killCommand},
			{Name: "list", Command: listCommand},
			{Name: "pause", Command: pauseCommand},
			{Name: "ps", Command: psCommand},
			{Name: "restore", Command: restoreCommand},
			{Name: "resume", Command: resumeCommand},
			{Name: "run", Command: runCommand},
			{Name: "spec", Command: specCommand},
			{Name: "start", Command: startCommand},
			{Name: "state", Command: stateCommand},
			{Name: "update", Command: updateCommand},
		},
		Before: before,
		Out:    os.Stdout,
	}
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
func before(c *commandline.Context) error {
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
	if again := []string{"create", "run", "exec"}; !slices.Contains(again, c.Arg(0)) || !container.Restarts() {
		logOf(c).debug("skiff-oci %q", os.Args[1:])
	}
	return nil
}

// withHint is an error in one line.
func withHint(err error) string {
	if h := hint.Of(err); h != "" {
		return fmt.Sprintf("%v (hint: %s)", err, h)
	}
	return err.Error()
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
func runtimeOf(c *commandline.Context) *container.Runtime {
	return &container.Runtime{Root: c.String("root"), Warn: logOf(c)}
}

// idOf is the one argument of most commands.
func idOf(c *commandline.Context) (string, error) {
	if len(c.Args) != 1 {
		return "", hint.Add(fmt.Errorf("%s: got %d arguments, want the id of a container", c.Command, len(c.Args)),
			"skiff-oci "+c.Command+" --help")
	}
	return c.Arg(0), nil
}

// onContainer is a command whose only argument is a container.
func onContainer(usage string, do func(*commandline.Context, string) error, flags ...[]commandline.Flag) commandline.Command {
	return commandline.Command{
		Usage: usage, Arguments: "ID", Flags: slices.Concat(flags...),
		Action: func(c *commandline.Context) error {
			id, err := idOf(c)
			if err != nil {
				return err
			}
			return do(c, id)
		},
	}
}
