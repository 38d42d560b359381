// Package commandline reads the command line of a program that has commands: flags
// for all of them, a command, its flags, its arguments.
//
//	skiff-oci --root /run/x run --bundle /tmp/b box
//
// The other programs leave that to github.com/urfave/cli, which links text/template,
// regexp and net/url. To have them ready takes time at each start (GODEBUG=inittrace=1),
// and a runtime is started for each thing that an engine does. Here,
// package flag reads the flags, and of all commands only the one that is meant is made.
//
// What users see is that of urfave/cli, which runc has: one hyphen or two, --name value
// or --name=value; what follows the first argument that is no flag, or --, are
// arguments; of a flag that is given twice the last one counts. One letters are not put
// together.
package commandline

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"skiff.example/stage01-chroot/hint"
)

// ErrUnknownCommand is what an error is that says: there is no such command.
var ErrUnknownCommand = errors.New("unknown command")

// An App is a program.
type App struct {
	Name     string
	Usage    string // what it does, in a line
	Version  string // for --version; further lines may follow
	Flags    []Flag // those before the command
	Commands []Entry
	Before   func(*Context) error // may be nil; it is called before a command is looked for
	Out      io.Writer            // where help and version go
}

// An Entry is a command by its name. It is made when it is needed.
type Entry struct {
	Name    string
	Command func() Command
}

// A Command is one of the things that a program does.
type Command struct {
	Usage     string // what it does, in a line
	Arguments string // what follows its flags, as help has it: "ID [SIGNAL]"
	Flags     []Flag
	Action    func(*Context) error
}

// Run does what the arguments ask for; the program's name is not among them. The
// Context is never nil: what is known of the flags also counts for who tells the error.
func (a *App) Run(args []string) (*Context, error) {
	c := &Context{}
	var err error
	if c.global, c.Args, err = parse(a.allFlags(), args); err != nil {
		return c, a.misused(a.Name, err)
	}
	if c.Bool("help") {
		return c, a.help(c.Arg(0))
	}
	if c.Bool("version") {
		_, err = fmt.Fprintf(a.Out, "%s version %s\n", a.Name, a.Version)
		return c, err
	}
	if a.Before != nil {
		if err := a.Before(c); err != nil {
			return c, err
		}
	}
	if len(c.Args) == 0 {
		return c, a.help("")
	}
	return c, a.command(c)
}

// command runs the command that the arguments begin with.
func (a *App) command(c *Context) (err error) {
	entry, err := a.find(c.Arg(0))
	if err != nil {
		return err
	}
	command := entry.Command()
	c.Command = entry.Name
	if c.own, c.Args, err = parse(append(command.Flags, helpFlag), c.Args[1:]); err != nil {
		return a.misused(a.Name+" "+entry.Name, err)
	}
	if c.Bool("help") {
		return a.help(entry.Name)
	}
	return command.Action(c)
}

// find looks for a command.
func (a *App) find(name string) (Entry, error) {
	for _, e := range a.Commands {
		if e.Name == name {
			return e, nil
		}
	}
	if name == "help" || name == "h" {
		return Entry{"help", a.helpCommand}, nil
	}
	return Entry{}, hint.Add(fmt.Errorf("%w %q", ErrUnknownCommand, name), "the commands are listed by: "+a.Name+" --help")
}

// parse reads flags up to the first argument that is none.
func parse(flags []Flag, args []string) ([]value, []string, error) {
	values := make([]value, len(flags))
	set := flag.FlagSet{Usage: func() {}} // its zero value returns errors
	set.SetOutput(io.Discard)
	for i := range flags {
		v := &values[i]
		v.Flag, v.text = &flags[i], flags[i].Default
		set.Var(v, v.Name, "")
		if v.Short != "" {
			set.Var(v, v.Short, "")
		}
	}
	err := set.Parse(args)
	return values, set.Args(), err
}

// misused is what is said of a wrong flag.
func (a *App) misused(command string, err error) error {
	return hint.Add(err, "the flags are listed by: "+command+" --help")
}
