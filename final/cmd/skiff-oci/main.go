// Command skiff-oci is a runtime in the sense of the OCI runtime
// specification, with the command line of runc: it runs a bundle, a folder
// with a config.json and a root file system.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/final/container"
	"skiff.example/stage01-chroot/hint"
)

// exitFailure is the status for a failure of skiff-oci itself.
const exitFailure = 1

func main() {
	app := &cli.App{
		Name:  "skiff-oci",
		Usage: "run containers as the OCI runtime specification says",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "root", Value: "/run/skiff-oci", Usage: "folder for the state of containers"},
			&cli.StringFlag{Name: "log", Usage: "file for warnings and errors, beside standard error"},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "text or json"},
			&cli.BoolFlag{Name: "debug", Hidden: true},
		},
		Commands: []*cli.Command{
			runCommand(), createCommand(), startCommand(), stateCommand(), killCommand(), deleteCommand(), listCommand(), specCommand(),
		},
		HideHelpCommand: true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main does it
		Action:          unknownCommand,
		OnUsageError:    usageError,
	}
	for _, command := range app.Commands {
		command.OnUsageError = usageError
	}
	err := app.Run(os.Args)
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		hint.Print(os.Stderr, "skiff-oci", err)
		os.Exit(exitFailure)
	}
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

// runtimeOf is the runtime with the state folder that --root names.
func runtimeOf(c *cli.Context) *container.Runtime { return &container.Runtime{Root: c.String("root")} }

// idOf is the one argument of most commands.
func idOf(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", hint.Add(fmt.Errorf("%s: got %d arguments, want the id of a container", c.Command.Name, c.NArg()),
			"skiff-oci "+c.Command.Name+" --help")
	}
	return c.Args().First(), nil
}

func startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Usage: "run the program of a created container", ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			id, err := idOf(c)
			if err != nil {
				return err
			}
			return runtimeOf(c).Start(id)
		},
	}
}

func stateCommand() *cli.Command {
	return &cli.Command{
		Name: "state", Usage: "print the state of a container", ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			id, err := idOf(c)
			if err != nil {
				return err
			}
			state, err := runtimeOf(c).State(id)
			if err != nil {
				return err
			}
			encoder := json.NewEncoder(os.Stdout)
			encoder.SetIndent("", "  ")
			return encoder.Encode(state.State)
		},
	}
}

func killCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Usage: "send a signal to a container's first process", ArgsUsage: "ID [SIGNAL]",
		Action: func(c *cli.Context) error {
			if c.NArg() < 1 || c.NArg() > 2 {
				return errors.New("kill: want the id of a container, and perhaps a signal")
			}
			signal, err := parseSignal(c.Args().Get(1))
			if err != nil {
				return err
			}
			return runtimeOf(c).Kill(c.Args().First(), signal)
		},
	}
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove what a container left", ArgsUsage: "ID",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "end it first, if it runs"}},
		Action: func(c *cli.Context) error {
			id, err := idOf(c)
			if err != nil {
				return err
			}
			return runtimeOf(c).Delete(id, c.Bool("force"))
		},
	}
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list containers",
		Action: func(c *cli.Context) error {
			states, err := runtimeOf(c).List()
			if err != nil {
				return err
			}
			fmt.Printf("%-20s %-8s %-8s %s\n", "ID", "PID", "STATUS", "BUNDLE")
			for _, s := range states {
				fmt.Printf("%-20s %-8d %-8s %s\n", s.ID, s.Pid, s.Status, s.Bundle)
			}
			return nil
		},
	}
}

// parseSignal reads a signal as a number or a name, with or without SIG; none
// is SIGTERM.
func parseSignal(text string) (syscall.Signal, error) {
	if text == "" {
		return syscall.SIGTERM, nil
	}
	if s, ok := signalByName(text); ok {
		return s, nil
	}
	return 0, fmt.Errorf("kill: unknown signal %q", text)
}
