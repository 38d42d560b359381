package commandline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The texts of --help.

// helpCommand is the command that all programs have.
func (a *App) helpCommand() Command {
	return Command{
		Usage: "Shows a list of commands or help for one command", Arguments: "[command]",
		Action: func(c *Context) error { return a.help(c.Arg(0)) },
	}
}

// help prints what there is to know of a command, or of the program.
func (a *App) help(name string) error {
	var text strings.Builder
	if name == "" {
		a.describe(&text)
	} else {
		entry, err := a.find(name)
		if err != nil {
			return err
		}
		a.describeCommand(&text, entry.Name, entry.Command())
	}
	_, err := a.Out.Write([]byte(text.String()))
	return err
}

func (a *App) describe(w *strings.Builder) {
	fmt.Fprintf(w, "NAME:\n   %s - %s\n\nUSAGE:\n   %[1]s [global options] command [command options]\n\nVERSION:\n   %[3]s\n", a.Name, a.Usage, a.Version)
	var commands [][2]string
	for _, e := range a.Commands {
		commands = append(commands, [2]string{e.Name, e.Command().Usage})
	}
	table(w, "COMMANDS:", append(commands, [2]string{"help, h", a.helpCommand().Usage}))
	table(w, "GLOBAL OPTIONS:", append(rows(a.Flags), helpFlag.row(), versionFlag.row()))
}

func (a *App) describeCommand(w *strings.Builder, name string, c Command) {
	usage := strings.TrimSpace("[command options] " + c.Arguments)
	fmt.Fprintf(w, "NAME:\n   %s %s - %s\n\nUSAGE:\n   %[1]s %[2]s %[4]s\n", a.Name, name, c.Usage, usage)
	table(w, "OPTIONS:", append(rows(c.Flags), helpFlag.row()))
}

// table prints two columns.
func table(w *strings.Builder, title string, rows [][2]string) {
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r[0]))
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, r := range rows {
		fmt.Fprintf(w, "   %-*s  %s\n", width, r[0], r[1])
	}
}

func rows(flags []Flag) (rows [][2]string) {
	for _, f := range flags {
		r := f.row()
		if text := f.defaultText(); text != "" {
			r[1] += " (default: " + text + ")"
		}
		rows = append(rows, r)
	}
	return rows
}

// row are the names of a flag, and what it is for.
func (f *Flag) row() [2]string {
	names := []string{"--" + f.Name}
	if f.Short != "" {
		names = append(names, "-"+f.Short)
	}
	for i := range names {
		names[i] += f.placeholder()
	}
	text := strings.Join(names, ", ")
	if f.Kind == Strings || f.Kind == Ints {
		text += " [ " + text + " ]"
	}
	return [2]string{text, f.Usage}
}

// placeholder stands for the value.
func (f *Flag) placeholder() string {
	switch f.Kind {
	case Bool:
		return ""
	case Word:
		return "[=value]"
	}
	return " value"
}

// defaultText is the value of a flag that is not given, or "" if that says nothing.
func (f *Flag) defaultText() string {
	switch {
	case f.Kind == Bool && f.Default == "":
		return "false"
	case slices.Contains([]Kind{Int, Uint}, f.Kind) && f.Default == "":
		return "0"
	case f.Kind == String && f.Default != "":
		return strconv.Quote(f.Default)
	}
	return f.Default
}
