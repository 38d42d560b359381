package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/rootfs/binfmt"
)

// The first line of a script: execve(2), "Interpreter scripts". The kernel
// starts what it names; if that is env(1), this starts what its arguments name.

// addInterpreter adds what a script's first line names.
func (c *Closure) addInterpreter(script string, start []byte) error {
	interpreter, argument := binfmt.Shebang(start)
	if interpreter == "" {
		return fmt.Errorf("script %q names no interpreter: %w", script, unix.ENOEXEC)
	}
	why := "interpreter of " + script
	if !path.IsAbs(interpreter) {
		return hint.Add(fmt.Errorf("%s: %q: %w", why, interpreter, unix.ENOENT),
			"it is looked up from the working directory of whoever starts the script; write an absolute path")
	}
	if err := c.addProgram(interpreter, why); err != nil {
		return hint.Add(fmt.Errorf("%s: %w", why, err), "the script does not start here either; install what it names")
	}
	if path.Base(interpreter) != "env" {
		return nil
	}
	program, err := envProgram(argument)
	if err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	if program == "" {
		return nil
	}
	return c.addProgram(program, why)
}

// envProgram returns the path of the program that env starts when a script's
// first line gives it this one argument; "" if it starts none.
func envProgram(argument string) (string, error) {
	words, split, err := envWords(argument)
	if err != nil {
		return "", fmt.Errorf("env: %w", err)
	}
	name, searched := envCommand(words)
	if name == "" {
		return "", nil
	}
	if searched != "" && !strings.Contains(name, "/") {
		for _, dir := range filepath.SplitList(searched) {
			if program := filepath.Join(dir, name); isExecutable(program) {
				return program, nil
			}
		}
		return "", fmt.Errorf("env: find program %q in %q: %w", name, searched, unix.ENOENT)
	}
	program, err := findProgram(name)
	if err != nil && !split && strings.ContainsAny(name, " \t") {
		err = hint.Add(fmt.Errorf("env: find program %q: %w", name, unix.ENOENT),
			"the kernel gives env all the words as one; with `env -S` it takes them apart")
	}
	return program, err
}

func isExecutable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// envWords are env's arguments. There is one, with all its blanks, unless it is
// the option -S, alone or behind others (-iS, -vS): it takes the rest apart.
func envWords(argument string) (words []string, split bool, err error) {
	if rest, is := strings.CutPrefix(argument, "--split-string"); is && rest != "" {
		words, err = splitString(strings.TrimLeft(rest, "= \t"))
		return words, true, err
	}
	options, text, found := strings.Cut(argument, "S")
	if !found || strings.Trim(options, "-iv0") != "" || !strings.HasPrefix(options, "-") {
		return []string{argument}, false, nil
	}
	words, err = splitString(text)
	return words, true, err
}

// envCommand skips options and variables in front of the program's name. A PATH
// among them counts for the search already.
func envCommand(words []string) (name, searched string) {
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case slices.Contains([]string{"-u", "--unset", "-C", "--chdir"}, word):
			i++ // its value
		case strings.HasPrefix(word, "PATH="):
			searched = strings.TrimPrefix(word, "PATH=")
		case strings.HasPrefix(word, "-"), strings.Contains(word, "="):
		default:
			return word, searched
		}
	}
	return "", searched
}

var errSplit = errors.New("-S: a quote is not closed")

// splitString cuts a text into words as env -S does: at blanks, except between
// quotes or behind a backslash; "\_" is a blank too, and between double quotes
// the character. What ${VARIABLE} will be nobody knows now, so it stays.
func splitString(text string) ([]string, error) {
	var s splitter
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && s.escapes(text[i+1]) {
			i++
			s.escaped(text[i])
			continue
		}
		s.character(text[i])
	}
	if s.quote != 0 {
		return nil, errSplit
	}
	s.endWord()
	return s.words, nil
}

type splitter struct {
	words []string
	word  []byte // nil between words
	quote byte   // the one that is open, 0 if none is
}

// escapes reports whether a backslash before c means something: between single
// quotes only before another or a quote.
func (s *splitter) escapes(c byte) bool { return s.quote != '\'' || c == '\'' || c == '\\' }

func (s *splitter) escaped(c byte) {
	switch {
	case c == '_' && s.quote == '"':
		s.word = append(s.word, ' ')
	case c == '_':
		s.endWord()
	default:
		s.word = append(s.word, c)
	}
}

func (s *splitter) character(c byte) {
	switch {
	case c == s.quote:
		s.quote = 0
	case s.quote != 0:
		s.word = append(s.word, c)
	case c == '"' || c == '\'':
		s.quote = c
		s.word = append([]byte{}, s.word...) // "" is a word, too
	case c == ' ' || c == '\t':
		s.endWord()
	default:
		s.word = append(s.word, c)
	}
}

func (s *splitter) endWord() {
	if s.word != nil {
		s.words = append(s.words, string(s.word))
	}
	s.word = nil
}
