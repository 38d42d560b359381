// Package command is what the command lines of all stages have in common: how a
// command is described, what is said when one is used wrongly, and how an error
// becomes a message and an exit status. The words and flags are read by
// github.com/urfave/cli, which runc uses too.
package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"skiff.example/stage01-chroot/hint"
)

// New describes a command that wants at least so many words. They are named in
// words, "ROOT COMMAND [ARGUMENT…]", for its help; only where the names say "…"
// may there be more than names. Flags come before the first word: what follows that belongs
// to the program to be run, even where it looks like a flag.
func New(name, words, usage string, least int, do func(c *cli.Context, words []string) error, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: words, Usage: usage, Flags: flags,
		Action: func(c *cli.Context) error {
			wrong := ""
			switch n := c.NArg(); {
			case n < least:
				wrong = "too few arguments"
			case n > len(strings.Fields(words)) && !strings.Contains(words, "…"):
				wrong = "too many arguments"
			default:
				return do(c, c.Args().Slice())
			}
			return hint.Add(fmt.Errorf("%s: %s", name, wrong), strings.TrimSpace("usage: "+c.App.Name+" "+name+" "+words))
		},
	}
}

// ErrInterrupted is why the context of a command ends: the user has pressed
// Ctrl-C or closed the terminal, or somebody has sent SIGTERM.
var ErrInterrupted = errors.New("interrupted")

// Run runs the command that args name, and returns the status with which the
// process should end: 0, that of an error that is a cli.ExitCoder (a container's
// program has ended with it, and has said why), or 1 after printing the error
// with its hint. The command's context ends with ErrInterrupted. When nobody
// reads the output any more, `stage01 demo | head`, the next write fails, so
// that the command cleans up; nothing is said, and the status is the shell's for
// a program that SIGPIPE has ended: 141.
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
	if err == nil {
		return 0
	}
	if readerGone(err) {
		return 128 + int(syscall.SIGPIPE)
	}
	hint.Print(os.Stderr, app.Name, err)
	return 1
}

// untilInterrupted returns a context that ends with SIGINT, SIGTERM or SIGHUP.
// That one may be ignored on purpose: nohup(1). SIGPIPE is caught, and no more:
// else the Go runtime ends the process when it writes to a pipe that nobody
// reads, see package os/signal, and nothing is cleaned up.
func untilInterrupted() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals, ignored := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGPIPE)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		if _, ok := <-signals; ok {
			cancel(ErrInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(ignored); signal.Stop(signals); close(signals); cancel(nil) }
}

// readerGone tells whether all that err says is that nobody reads the output.
func readerGone(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(one error) bool { return !readerGone(one) })
	}
	failed, ok := errors.AsType[*fs.PathError](err)
	return ok && failed.Path == os.Stdout.Name() && errors.Is(failed, syscall.EPIPE)
}

// unknown is what runs when none of the commands is meant.
func unknown(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	return hint.Add(fmt.Errorf("unknown command %q", c.Args().First()), "the commands are listed by: "+c.App.Name+" --help")
}

// misused makes a wrong flag an error like others: one line and a hint. The
// flag package writes -name, and we write --name.
func misused(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		err = fmt.Errorf("no flag is called --%s", name)
	}
	return hint.Add(err, "the flags are listed by: "+c.Command.HelpName+" --help")
}

// NeedPrograms is an error unless these programs of the host are in PATH: a
// demonstration uses them, and would fail half-way.
func NeedPrograms(what string, programs ...string) error {
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return hint.Add(fmt.Errorf("%s needs programs that are not in PATH: %s", what, strings.Join(missing, ", ")),
		"on Debian and Ubuntu they are installed by: make deps")
}

// NeedRoot is an error unless this process is root. A demonstration says so at
// its beginning, instead of failing half-way.
func NeedRoot(what, makes string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return hint.Add(fmt.Errorf("%s makes %s, which only root may", what, makes), "run it as root: with sudo, for example")
}
