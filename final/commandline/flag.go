package commandline

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Flags, and what values they take. A value is kept as its text: it is checked when it
// is read, and understood when it is asked for.

// A Kind is what values a flag takes.
type Kind int

// The kinds of flags. Numbers may be written as in Go: 0x10.
const (
	Bool     Kind = iota // alone, or as in --name=false
	String               // any text
	Word                 // one of Words, the first if the flag stands alone; another as in --name=word
	Int                  // 64 bits
	Uint                 // 64 bits
	Duration             // as in 1m30s
	Strings              // any text, as often as the flag is given; a comma is part of it, as in runc
	Ints                 // a number of 64 bits, in the same way
)

// A Flag is one that a program or a command has.
type Flag struct {
	Kind    Kind
	Name    string
	Short   string // another name, of one letter; or none
	Default string // the value as someone would type it
	Usage   string // what it is for, in a line
	Words   string // those of a Word, with a blank between two
}

// The flags that are always there.
var (
	helpFlag    = Flag{Name: "help", Short: "h", Usage: "show help"}
	versionFlag = Flag{Name: "version", Short: "v", Usage: "print the version"}
)

// allFlags are those before the command.
func (a *App) allFlags() []Flag {
	return append(a.Flags[:len(a.Flags):len(a.Flags)], helpFlag, versionFlag)
}

// A value is what a flag has been given. It is a flag.Value.
type value struct {
	*Flag
	set   bool
	text  string
	texts []string // of Strings and Ints
}

// String implements flag.Value.
func (v *value) String() string { return v.text }

// IsBoolFlag tells package flag that --name is --name=true.
func (v *value) IsBoolFlag() bool { return v.Kind == Bool || v.Kind == Word }

// Set implements flag.Value.
func (v *value) Set(text string) (err error) {
	v.set = true
	switch v.Kind {
	case Word:
		text, err = v.word(text)
	case Strings, Ints:
		v.texts = append(v.texts, text)
		err = v.check(text)
	default:
		err = v.check(text)
	}
	v.text = text
	return err
}

// word is what the text of a Word means.
func (v *value) word(text string) (string, error) {
	words := strings.Fields(v.Words)
	switch {
	case text == "true":
		return words[0], nil
	case text == "false":
		return "", nil
	case slices.Contains(words, text):
		return text, nil
	}
	return "", errors.New("want " + strings.Join(words, " or "))
}

// check tells whether the text is of the flag's kind, in the words of package flag.
func (v *value) check(text string) (err error) {
	switch v.Kind {
	case Bool:
		_, err = strconv.ParseBool(text)
	case Int, Ints:
		_, err = strconv.ParseInt(text, 0, 64)
	case Uint:
		_, err = strconv.ParseUint(text, 0, 64)
	case Duration:
		_, err = time.ParseDuration(text)
	}
	if errors.Is(err, strconv.ErrRange) {
		return errors.New("value out of range")
	}
	if err != nil {
		return errors.New("parse error")
	}
	return nil
}
