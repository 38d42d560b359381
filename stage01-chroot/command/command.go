// Package command is what the command lines of all stages have in common: how a
// command is described, what is said when one is used wrongly, and how an error
// becomes a message and an exit status. The words and flags are read by
// github.com/urfave/cli, which runc uses too.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
)

// New describes a command that wants at least so many words. They are named in
// words, "ROOT COMMAND [ARGUMENT…]", for its help. Flags come before the first
// word: what follows that belongs to the program to be run, even where it looks
// like a flag.
func New(name, words, usage string, least int, do func(c *cli.Context, words []string) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: words, Usage: usage, Flags: flags,
		Action: func(c *cli.Context) error {
			if c.NArg() < least {
				return hint.Add(fmt.Errorf("%s: too few arguments", name), "usage: "+c.App.Name+" "+name+" "+words)
			}
			return do(c, c.Args().Slice())
		},
	}
}

// ErrInterrupted is why the context of a command ends: the user has pressed
// Ctrl-C, or somebody has sent SIGTERM.
var ErrInterrupted = errors.New("interrupted")

// Run runs the command that args name, and returns the status with which the
// process should end: 0, that of an error that is a cli.ExitCoder (a container's
// program has ended with it, and has said why), or 1 after printing the error
// with its hint. The command's context ends with ErrInterrupted.
func Run(app *cli.App, args []string) (status int) {
	app.HideVersion, app.HideHelpCommand = true, true
	app.ExitErrHandler = func(*cli.Context, error) {} // main alone exits
	app.Action, app.OnUsageError = unknown, misused
	for _, c := range app.Commands {
		c.OnUsageError = misused
	}
	ctx, stop := untilInterrupted()
	defer stop()
	err := app.RunContext(ctx, args)
	exit, ok := errors.AsType[cli.ExitCoder](err)
	_, other := exit.(*exec.ExitError) // has the method by chance: it is a failure like others
	if ok && !other {
		return exit.ExitCode()
	}
	if err != nil {
		hint.Print(os.Stderr, app.Name, err)
		return 1
	}
	return 0
}

// untilInterrupted returns a context that ends with SIGINT or SIGTERM.
func untilInterrupted() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; ok {
			cancel(ErrInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(signals); close(signals); cancel(nil) }
}

// unknown is what runs when none of the commands is meant.
func unknown(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	return hint.Add(fmt.Errorf("unknown command %q", c.Args().First()), "the commands are listed by: "+c.App.Name+" --help")
}

// misused makes a wrong flag an error like others: one line and a hint.
func misused(c *cli.Context, err error, _ bool) error {
	return hint.Add(err, "the flags are listed by: "+c.Command.HelpName+" --help")
}

// NeedRoot is an error unless this process is root. A demonstration says so at
// its beginning, instead of failing half-way.
func NeedRoot(what, makes string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return hint.Add(fmt.Errorf("%s makes %s, which only root may", what, makes), "run it as root: with sudo, for example")
}
