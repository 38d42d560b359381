package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// The command line, as cheap as it can be had: a runtime is started for each thing that
// an engine does.

// A namedFlag knows its names. Other flags look for commas in theirs with a regular
// expression, whenever cli asks; and it asks each flag about all others.
type namedFlag struct {
	anyFlag
	names []string
}

// anyFlag is what all flags can, beside what their values are.
type anyFlag interface {
	cli.DocGenerationFlag
	cli.CategorizableFlag
	cli.RequiredFlag
	cli.ActionableFlag
}

// Names implements cli.Flag.
func (f namedFlag) Names() []string { return f.names }

// IsSliceFlag implements cli.DocGenerationSliceFlag.
func (f namedFlag) IsSliceFlag() bool {
	slice, ok := f.anyFlag.(cli.DocGenerationSliceFlag)
	return ok && slice.IsSliceFlag()
}

// named makes flags know their names.
func named(flags []cli.Flag) (all []cli.Flag) {
	for _, f := range flags {
		if known, ok := f.(anyFlag); ok {
			f = namedFlag{known, f.Names()}
		}
		all = append(all, f)
	}
	return all
}

// meant are the commands whose names are among the arguments, or all, where nobody
// can be meant: cli prepares each that there is.
func meant(commands []*cli.Command, args []string) []*cli.Command {
	var among []*cli.Command
	for _, c := range commands {
		if slices.Contains(args, c.Name) {
			among = append(among, c)
		}
	}
	if len(among) == 0 || slices.ContainsFunc(args, func(a string) bool { return a == "help" || a == "h" }) {
		return commands
	}
	return among
}
