// Command skiff runs containers from images: the door for people.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/final/doctor"
	"skiff.example/final/engine"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/pid1"
	"skiff.example/stage05-images/registry"
)

// The statuses with which `run` ends when the program did not run, as in
// docker: docker-run(1), "Exit Status".
const (
	exitEngine        = 125 // skiff itself failed
	exitNotExecutable = 126 // the program is there and cannot be executed
	exitNotFound      = 127 // there is no such program
	exitInterrupted   = 130 // Ctrl-C, before the program ran
)

func main() {
	if pid1.Called(os.Args) { // this program is also process 1 of a container, see run --init
		os.Exit(pid1.Main())
	}
	app := &cli.App{
		Name:  "skiff",
		Usage: "run containers from images",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root", Value: "/var/lib/skiff", Usage: "folder for images and for what containers write"},
			&cli.StringFlag{Name: "state", Value: "/run/skiff", Usage: "folder for the state of containers"},
		},
		Commands:        slices.Concat([]*cli.Command{runCommand(), buildCommand(), doctorCommand()}, registry.Commands(openStore), imageCommands()),
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main does it
		Action:          unknownCommand,
		OnUsageError:    usageError,
	}
	for _, command := range app.Commands {
		command.OnUsageError = usageError
	}
	ctx, stop := untilInterrupted()
	defer stop()
	err := app.RunContext(ctx, os.Args)
	if err == nil {
		return
	}
	var status exitStatus
	if !errors.As(err, &status) {
		hint.Print(os.Stderr, "skiff", err)
	}
	os.Exit(statusOf(err))
}

// errInterrupted is why a context ends when the user presses Ctrl-C.
var errInterrupted = errors.New("interrupted")

// untilInterrupted returns a context that ends with SIGINT, SIGTERM or SIGHUP.
// While a container runs, these are passed on to it as well.
func untilInterrupted() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		if _, ok := <-signals; ok {
			cancel(errInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel(nil) }
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

// statusOf is the status with which skiff ends after err.
func statusOf(err error) int {
	var status exitStatus
	var step *plan.Error
	switch {
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &step) && (step.Step.Call() == "execve" || step.Step.Call() == "faccessat2"):
		if step.Errno == unix.ENOENT || step.Errno == unix.ENOTDIR {
			return exitNotFound
		}
		return exitNotExecutable
	}
	return exitEngine
}

// engineOf is the engine with the folders that the flags name.
func engineOf(c *cli.Context) *engine.Engine {
	return &engine.Engine{Root: c.String("root"), State: c.String("state"), Out: os.Stderr}
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "tell what this machine lacks for skiff, and how to mend it",
		Flags: []cli.Flag{&cli.StringFlag{Name: "try", Hidden: true}}, // doctor starts skiff again with it
		Action: func(c *cli.Context) error {
			if trial := c.String("try"); trial != "" {
				return doctor.Try(os.Stdout, trial)
			}
			host, err := doctor.This(c.String("root"), "doctor", "--try")
			if err != nil {
				return err
			}
			return doctor.Run(os.Stdout, host)
		},
	}
}
