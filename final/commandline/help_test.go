package commandline_test

import (
	"errors"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"
)

func TestHelp(t *testing.T) {
	for file, lines := range map[string][]string{
		"ship.golden": {"", "help", "h", "--help", "-h", "--help --version", "--debug --log x", "help --", "--help=true"},
		"sail.golden": {"help sail", "h sail", "help sail x", "sail --help", "sail -h", "sail --fast --help cork", "--help sail", "-h sail --nonesuch"},
		"help.golden": {"help help", "help -h", "h --help"},
	} {
		for _, args := range lines {
			golden.Assert(t, run(strings.Fields(args)...), file)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, args := range []string{"--version", "-v", "--version sail", "-v --debug nonesuch"} {
		assert.Equal(t, run(strings.Fields(args)...), "ship version 1.2\nkeel: 3\n", args)
	}
	assert.Equal(t, run("-v=false", "-h=false", "sail", "-h=false"), "sail [] log=a b")
}

// A command may be called as those that are always there.
func TestACommandThatIsCalledHelp(t *testing.T) {
	var out strings.Builder
	app := ship(&out)
	app.Commands[0].Name = "h"
	_, err := app.Run([]string{"h"})
	assert.NilError(t, err)
	assert.Equal(t, out.String(), "h [] log=a b")
}

// Help that nobody reads is an error, as other output is.
func TestHelpIntoNothing(t *testing.T) {
	app := ship(nil)
	app.Out = gone{}
	for _, args := range [][]string{{"--help"}, {"sail", "--help"}, {"--version"}} {
		_, err := app.Run(args)
		assert.ErrorIs(t, err, errGone)
	}
}

type gone struct{}

var errGone = errors.New("gone")

func (gone) Write([]byte) (int, error) { return 0, errGone }
