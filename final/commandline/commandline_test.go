package commandline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"skiff.example/final/commandline"
	"skiff.example/stage01-chroot/hint"
)

// ship is a program with flags of all kinds. What a command has been called with goes
// to out.
func ship(out *strings.Builder) *commandline.App {
	return &commandline.App{
		Name: "ship", Usage: "sail the sea", Version: "1.2\nkeel: 3", Out: out,
		Flags: []commandline.Flag{
			{Name: "debug", Usage: "tell more"},
			{Kind: commandline.String, Name: "log", Default: "a b", Usage: "the book"},
		},
		Commands: []commandline.Entry{
			{Name: "sail", Command: func() commandline.Command {
				return commandline.Command{Usage: "leave the port", Arguments: "PORT", Flags: sailFlags, Action: func(c *commandline.Context) error {
					fmt.Fprintf(out, "%s %q", c.Command, c.Args)
					for _, f := range sailFlags {
						if c.IsSet(f.Name) {
							fmt.Fprintf(out, " %s=%q%q", f.Name, c.String(f.Name), c.Strings(f.Name))
						}
					}
					fmt.Fprintf(out, " log=%s", c.String("log"))
					return nil
				}}
			}},
			{Name: "sink", Command: func() commandline.Command {
				return commandline.Command{Usage: "go down", Action: func(c *commandline.Context) error { return errAground }}
			}},
		},
	}
}

var sailFlags = []commandline.Flag{
	{Name: "fast", Short: "f", Usage: "all sails"},
	{Kind: commandline.String, Name: "captain", Short: "c", Usage: "who commands"},
	{Kind: commandline.Word, Name: "explain", Words: "text json", Usage: "say why"},
	{Kind: commandline.Int, Name: "crew", Default: "-1", Usage: "how many"},
	{Kind: commandline.Int, Name: "heel", Usage: "in degrees"},
	{Kind: commandline.Uint, Name: "knots", Usage: "how fast"},
	{Kind: commandline.Duration, Name: "watch", Default: "4h", Usage: "how long"},
	{Kind: commandline.Strings, Name: "cargo", Short: "g", Usage: "what is aboard"},
	{Kind: commandline.Ints, Name: "depth", Usage: "fathoms"},
}

var errAground = errors.New("aground")

// run is what the program prints, or its error with the hint.
func run(args ...string) string {
	var out strings.Builder
	_, err := ship(&out).Run(args)
	if err != nil {
		return out.String() + "error: " + err.Error() + " (" + hint.Of(err) + ")"
	}
	return out.String()
}

func TestWhatIsAFlagAndWhatAnArgument(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"sail", `sail [] log=a b`},
		{"sail cork", `sail ["cork"] log=a b`},
		{"sail --captain ahab cork", `sail ["cork"] captain="ahab"[] log=a b`},
		{"sail --captain=ahab cork", `sail ["cork"] captain="ahab"[] log=a b`},
		{"sail -captain ahab cork", `sail ["cork"] captain="ahab"[] log=a b`},
		{"sail -captain=a=b cork", `sail ["cork"] captain="a=b"[] log=a b`},
		{"sail -c ahab cork", `sail ["cork"] captain="ahab"[] log=a b`},
		{"sail --c=ahab cork", `sail ["cork"] captain="ahab"[] log=a b`},
		{"sail --captain= cork", `sail ["cork"] captain=""[] log=a b`},
		{"sail --captain --fast cork", `sail ["cork"] captain="--fast"[] log=a b`},
		{"sail -f -c ahab", `sail [] fast="true"[] captain="ahab"[] log=a b`},
		{"sail --fast=false", `sail [] fast="false"[] log=a b`},
		{"sail --fast false", `sail ["false"] fast="true"[] log=a b`},
		// The first argument that is no flag ends them, and so does --.
		{"sail cork --captain ahab", `sail ["cork" "--captain" "ahab"] log=a b`},
		{"sail cork --nonesuch -- x", `sail ["cork" "--nonesuch" "--" "x"] log=a b`},
		{"sail -- --captain", `sail ["--captain"] log=a b`},
		{"sail -f -- -- cork", `sail ["--" "cork"] fast="true"[] log=a b`},
		{"sail - --fast", `sail ["-" "--fast"] log=a b`},
		{"sail help", `sail ["help"] log=a b`},
		{"sail h", `sail ["h"] log=a b`},
		{"-- sail cork", `sail ["cork"] log=a b`},
		// The last one counts, under whichever name; a list has them all.
		{"sail --captain ahab -c nemo", `sail [] captain="nemo"[] log=a b`},
		{"sail --cargo oil -g salt,tea --cargo=", `sail [] cargo=""["oil" "salt,tea" ""] log=a b`},
		{"sail --depth 3 --depth=0x10", `sail [] depth="0x10"["3" "0x10"] log=a b`},
		// A word may be left out.
		{"sail --explain json", `sail ["json"] explain="text"[] log=a b`},
		{"sail --explain=json", `sail [] explain="json"[] log=a b`},
		{"sail --explain=false", `sail [] explain=""[] log=a b`},
		// Flags before the command are the program's.
		{"--log x sail", `sail [] log=x`},
		{"--log= --debug sail cork", `sail ["cork"] log=`},
	} {
		assert.Equal(t, run(strings.Fields(test.args)...), test.want, test.args)
	}
	assert.Equal(t, run("sail", "", "--fast"), `sail ["" "--fast"] log=a b`)
	assert.Equal(t, run("sail", "--captain", "", "x"), `sail ["x"] captain=""[] log=a b`)
	assert.Equal(t, run("sail", "--cargo", " oil, tea "), `sail [] cargo=" oil, tea "[" oil, tea "] log=a b`)
}

func TestWhatIsWrong(t *testing.T) {
	const ofSail, ofShip = " (the flags are listed by: ship sail --help)", " (the flags are listed by: ship --help)"
	for _, test := range []struct{ args, want string }{
		{"sail --nonesuch x", "flag provided but not defined: -nonesuch" + ofSail},
		{"sail --debug", "flag provided but not defined: -debug" + ofSail},
		{"sail -fc ahab", "flag provided but not defined: -fc" + ofSail},
		{"sail --captain", "flag needs an argument: -captain" + ofSail},
		{"sail --=x", "bad flag syntax: --=x" + ofSail},
		{"sail ---fast", "bad flag syntax: ---fast" + ofSail},
		{"sail --fast=maybe", `invalid boolean value "maybe" for -fast: parse error` + ofSail},
		{"sail --explain=loudly", `invalid boolean value "loudly" for -explain: want text or json` + ofSail},
		{"sail --crew many", `invalid value "many" for flag -crew: parse error` + ofSail},
		{"sail --crew=", `invalid value "" for flag -crew: parse error` + ofSail},
		{"sail --crew 9223372036854775808", `invalid value "9223372036854775808" for flag -crew: value out of range` + ofSail},
		{"sail --knots -1", `invalid value "-1" for flag -knots: parse error` + ofSail},
		{"sail --watch 4", `invalid value "4" for flag -watch: parse error` + ofSail},
		{"sail --depth 4 --depth deep", `invalid value "deep" for flag -depth: parse error` + ofSail},
		{"sail --depth 4,5", `invalid value "4,5" for flag -depth: parse error` + ofSail},
		{"--nonesuch sail", "flag provided but not defined: -nonesuch" + ofShip},
		{"--log", "flag needs an argument: -log" + ofShip},
		{"--debug=x sail", `invalid boolean value "x" for -debug: parse error` + ofShip},
		{"help --nonesuch", "flag provided but not defined: -nonesuch (the flags are listed by: ship help --help)"},
		{"nonesuch", `unknown command "nonesuch" (the commands are listed by: ship --help)`},
		{"-", `unknown command "-" (the commands are listed by: ship --help)`},
		{"sink", "aground ()"},
	} {
		assert.Equal(t, run(strings.Fields(test.args)...), "error: "+test.want, test.args)
	}
	for _, args := range [][]string{{"nonesuch"}, {""}, {"help", "nonesuch"}, {"--help", "nonesuch"}} {
		_, err := ship(&strings.Builder{}).Run(args)
		assert.ErrorIs(t, err, commandline.ErrUnknownCommand, "%q", args)
	}
	_, err := ship(&strings.Builder{}).Run([]string{"sink"})
	assert.ErrorIs(t, err, errAground)
}

func TestValues(t *testing.T) {
	var out strings.Builder
	app := ship(&out)
	app.Commands = []commandline.Entry{{Name: "sail", Command: func() commandline.Command {
		return commandline.Command{Flags: sailFlags, Action: func(c *commandline.Context) error {
			fmt.Fprintln(&out, c.Bool("fast"), c.Int("crew"), c.Int("heel"), c.Uint("knots"), c.Duration("watch"), c.Ints("depth"), c.Bool("debug"))
			return nil
		}}
	}}}
	given := "--debug sail --fast=T --crew -0x10 --heel 1_000 --knots 18446744073709551615 --watch 1m30s --depth 1 --depth -2"
	for _, args := range []string{"sail", given} {
		_, err := app.Run(strings.Fields(args))
		assert.NilError(t, err)
	}
	assert.Equal(t, out.String(), "false -1 0 0 4h0m0s [] false\ntrue -16 1000 18446744073709551615 1m30s [1 -2] true\n")
}

// A command's flag hides one of the program's, and one that neither has is not set.
func TestFlagsOfTheProgramAndOfTheCommand(t *testing.T) {
	var c *commandline.Context
	app := &commandline.App{
		Name: "ship", Flags: []commandline.Flag{{Kind: commandline.String, Name: "name", Default: "old"}, {Name: "debug"}},
		Commands: []commandline.Entry{{Name: "sail", Command: func() commandline.Command {
			return commandline.Command{
				Flags:  []commandline.Flag{{Kind: commandline.String, Name: "name"}},
				Action: func(context *commandline.Context) error { c = context; return nil },
			}
		}}},
	}
	_, err := app.Run([]string{"--debug", "--name", "x", "sail", "y", "z"})
	assert.NilError(t, err)
	assert.Equal(t, c.String("name"), "")
	assert.Assert(t, !c.IsSet("name") && c.IsSet("debug") && c.Bool("debug"))
	assert.Assert(t, !c.IsSet("nonesuch") && !c.Bool("nonesuch") && c.String("nonesuch") == "" && c.Int("nonesuch") == 0)
	assert.Assert(t, c.Uint("nonesuch") == 0 && c.Duration("nonesuch") == time.Duration(0) && c.Ints("nonesuch") == nil)
	assert.Equal(t, c.Arg(0)+c.Arg(1)+c.Arg(2), "yz")
}

// Before is for what all commands have in common: help and version do without.
func TestBefore(t *testing.T) {
	for _, test := range []struct {
		args   string
		called bool
	}{{"sail", true}, {"nonesuch", true}, {"help", true}, {"", true}, {"--help", false}, {"--version", false}, {"--nonesuch", false}} {
		called := false
		app := ship(&strings.Builder{})
		app.Before = func(*commandline.Context) error { called = true; return errAground }
		_, err := app.Run(strings.Fields(test.args))
		assert.Equal(t, called, test.called, test.args)
		assert.Equal(t, errors.Is(err, errAground), test.called, test.args)
	}
}

// Who tells the error wants to know what was said before it.
func TestTheContextOfAnError(t *testing.T) {
	for _, args := range []string{"--log x --nonesuch", "--log x nonesuch", "--log x sail --nonesuch", "--log x sink"} {
		c, err := ship(&strings.Builder{}).Run(strings.Fields(args))
		assert.Assert(t, err != nil, args)
		assert.Equal(t, c.String("log"), "x", args)
	}
}

// Only the command that is meant is made.
func TestOtherCommandsAreNotMade(t *testing.T) {
	app := ship(&strings.Builder{})
	app.Commands[1].Command = func() commandline.Command {
		t.Error("made")
		return commandline.Command{}
	}
	for _, args := range []string{"sail", "sail --help", "help sail", "nonesuch", "--version"} {
		_, _ = app.Run(strings.Fields(args))
	}
}
