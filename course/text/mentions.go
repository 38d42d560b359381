package text

// This file checks what the text mentions in code spans and shows in blocks:
// paths of the tree, and targets of the Makefile.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"skiff.example/course/report"
)

var (
	// makeCall finds the calls of make in a command line; what comes before
	// may be a prompt, sudo or another command.
	makeCall = regexp.MustCompile(`(?:^|^[$#] |sudo |[;&|] *)make((?: +[^\s;&|#]+)*)`)
	// stageFolder is the form of a stage's folder, whether it is there or not.
	stageFolder = regexp.MustCompile(`^stage\d\d-\w+$`)
)

// checkMentions reports paths and make targets that are not there.
func (t *tree) checkMentions(p *page) []report.Problem {
	var problems []report.Problem
	for _, m := range p.mentions() {
		for _, word := range strings.Fields(m.code) {
			if !t.exists(word) {
				problems = append(problems, p.at(m.line, "%q is not in the tree", word))
			}
		}
		for _, target := range targetsIn(m.code) {
			known, err := t.hasTarget(target)
			if err != nil {
				problems = append(problems, p.at(m.line, "make %s: %v", target, err))
			} else if !known {
				problems = append(problems, p.at(m.line, "make %s: the Makefile has no such target", target))
			}
		}
	}
	return problems
}

// mentions returns the code spans, and the lines of all blocks but code and
// drawings.
func (p *page) mentions() []mention {
	all := slices.Clone(p.spans)
	for _, b := range p.blocks {
		if b.language == "go" || b.language == "mermaid" {
			continue
		}
		for i, line := range b.body {
			all = append(all, mention{b.line + 1 + i, strings.TrimSpace(line)})
		}
	}
	return all
}

// exists tells whether a word that looks like a path of the tree is one. Only
// words below a folder of the tree look like one; what make builds in bin is
// no part of it. A * stands for what it stands for in a shell.
func (t *tree) exists(word string) bool {
	word = strings.TrimPrefix(strings.TrimSuffix(word, "/..."), "skiff.example/")
	word = filepath.Clean(strings.TrimRight(word, ".,;:"))
	first, rest, below := strings.Cut(word, "/")
	switch {
	case first == "bin" || first == "." || first == ".." || first == "":
		return true
	case stageFolder.MatchString(first):
	case !below || rest == "":
		return true
	default:
		if info, err := os.Stat(filepath.Join(t.root, first)); err != nil || !info.IsDir() {
			return true
		}
	}
	found, err := filepath.Glob(filepath.Join(t.root, word))
	return err == nil && len(found) > 0
}

// targetsIn returns the targets that a command line gives to make. Options and
// variables are none; with -C and -f it is about another Makefile.
func targetsIn(code string) []string {
	var targets []string
	for _, call := range makeCall.FindAllStringSubmatch(code, -1) {
		words := strings.Fields(call[1])
		for _, w := range words {
			switch {
			case strings.HasPrefix(w, "-C") || strings.HasPrefix(w, "-f"):
				return nil
			case w[0] == '-' || strings.Contains(w, "=") || strings.Contains(w, "…"):
			default:
				targets = append(targets, w)
			}
		}
	}
	return targets
}

// hasTarget tells whether the Makefile has a target. An N in the name stands
// for a number (stageN), a % in the Makefile for anything.
func (t *tree) hasTarget(name string) (bool, error) {
	if t.targets == nil {
		if err := t.readTargets(); err != nil {
			return false, err
		}
	}
	wanted, err := regexp.Compile("^" + strings.ReplaceAll(regexp.QuoteMeta(name), "N", `(N|\d+)`) + "$")
	if err != nil {
		return false, err
	}
	for _, target := range t.targets {
		prefix, suffix, pattern := strings.Cut(target, "%")
		if wanted.MatchString(target) || pattern && strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			return true, nil
		}
	}
	return false, nil
}

// readTargets asks make itself for the targets (make --print-data-base), so
// that variables, patterns and included files count as they do for make. The
// goal is the Makefile itself, which has no recipe: with another goal, even
// --question would run the recipes that call $(MAKE).
func (t *tree) readTargets() error {
	if _, err := os.Stat(filepath.Join(t.root, "Makefile")); err != nil {
		return errors.New("there is no Makefile")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "--print-data-base", "--question",
		"--no-builtin-rules", "--no-builtin-variables", "Makefile")
	cmd.Dir, cmd.Env = t.root, cleanEnvironment()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("make --print-data-base: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	t.targets = targetsOf(out)
	return nil
}

// targetForm is a rule's first line in make's data base.
var targetForm = regexp.MustCompile(`^([^#\t=:]+)::?(?: |$)`)

// targetsOf returns the targets of make's data base. It lists the files that
// it merely looked at as well, after the words "Not a target".
func targetsOf(database []byte) []string {
	targets := []string{}
	skip := false
	for lines := bufio.NewScanner(bytes.NewReader(database)); lines.Scan(); {
		line := lines.Text()
		if m := targetForm.FindStringSubmatch(line); m != nil && !skip && line[0] != '.' {
			targets = append(targets, strings.Fields(m[1])...)
		}
		skip = strings.HasPrefix(line, "# Not a target:")
	}
	return targets
}
