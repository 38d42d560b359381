package text

// This file fetches what a block should contain: a declaration, a file, a
// command's output.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// commands are the command lines that a page may show the output of. They are
// run in the root of the tree whenever the text is checked, so they must be
// quick, need no root and change nothing.
var commands = []string{"make help"}

// commandTime is how long such a command may take.
const commandTime = 30 * time.Second

// tree is the folder that the pages speak of. It remembers what was read.
type tree struct {
	root    string
	pages   map[string]*page
	outputs map[string][]string // of commands
	targets []string            // of the Makefile; nil until asked for
}

func newTree(root string) *tree {
	return &tree{root: root, pages: map[string]*page{}, outputs: map[string][]string{}}
}

// page reads a page, once.
func (t *tree) page(name string) (*page, error) {
	if p := t.pages[name]; p != nil {
		return p, nil
	}
	p, err := readPage(t.root, name)
	if err == nil {
		t.pages[name] = p
	}
	return p, err
}

// content returns the lines that a block should hold; its own where it has no
// marker.
func (t *tree) content(b block) ([]string, error) {
	m := b.marker
	if m == nil {
		return b.body, nil
	}
	lines, err := t.source(m)
	if err != nil {
		return nil, err
	}
	if lines, err = m.cut(lines); err != nil {
		return nil, err
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return nil, errors.New("it is empty")
	}
	return lines, nil
}

// source returns the lines of what a marker names, before the cut.
func (t *tree) source(m *marker) ([]string, error) {
	switch m.kind {
	case "code":
		file, name, ok := strings.Cut(m.operand, "#")
		if !ok || path.Ext(file) != ".go" {
			return nil, errors.New("code is named as path/file.go#Name")
		}
		data, err := t.read(file)
		if err != nil {
			return nil, err
		}
		return declaration(data, name, !m.noDoc)
	case "golden":
		if !slices.Contains(strings.Split(path.Dir(m.operand), "/"), "testdata") {
			return nil, errors.New("a golden file is in a folder testdata, where a test compares it with a run")
		}
	case "command":
		return t.output(m.operand)
	}
	data, err := t.read(m.operand)
	return strings.Split(string(data), "\n"), err
}

// read reads a file of the tree. A name that leads out of the tree is an error.
func (t *tree) read(name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, errors.New("the path leads out of the tree")
	}
	data, err := os.ReadFile(filepath.Join(t.root, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("there is no such file")
	}
	return data, err
}

// output runs one of the commands, once.
func (t *tree) output(line string) ([]string, error) {
	if !slices.Contains(commands, line) {
		return nil, fmt.Errorf("not one of the commands that may be run: %q", commands)
	}
	if lines, ok := t.outputs[line]; ok {
		return lines, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	words := strings.Fields(line)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = t.root, cleanEnvironment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		said := strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; ")
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	t.outputs[line] = strings.Split(string(out), "\n")
	return t.outputs[line], nil
}

// cleanEnvironment is ours without what a make above us left in it, which
// would make an inner make talk of folders that it enters and leaves; messages
// are in English.
func cleanEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == "MAKEFLAGS" || name == "MFLAGS" || name == "MAKELEVEL"
	})
	return append(env, "LC_ALL=C")
}
