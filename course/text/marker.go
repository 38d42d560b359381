package text

// This file reads markers: the HTML comments that say where the block after
// them comes from. The package comment shows their forms.

import (
	"fmt"
	"regexp"
	"strings"
)

// marker says where a block's content comes from.
type marker struct {
	line    int
	kind    string // code, file, golden or command
	operand string // a path, path#Name for code, a command line
	noDoc   bool   // code without its doc comment

	from, to, until *regexp.Regexp // nil where not given
}

// String names the marker in a problem, without its options.
func (m *marker) String() string { return m.kind + ": " + m.operand }

var (
	markerForm = regexp.MustCompile(`(?s)^<!--\s*([a-z]+):(.*)-->$`)
	optionForm = regexp.MustCompile(`\s([a-z]+)="([^"]*)"`)
)

// parseMarker reads an HTML comment. A comment that does not begin with a
// lower-case word and a colon is no marker: nil, nil. With an unknown word it
// is an error, since it is most likely a slip of the pen.
func parseMarker(comment string) (*marker, error) {
	form := markerForm.FindStringSubmatch(comment)
	if form == nil {
		return nil, nil
	}
	m := &marker{kind: form[1]}
	m.operand = strings.TrimSpace(optionForm.ReplaceAllString(form[2], ""))
	switch m.kind {
	case "code", "file", "golden", "command":
	default:
		return nil, fmt.Errorf("unknown marker %q: there are code, file, golden and command", m.kind)
	}
	for _, option := range optionForm.FindAllStringSubmatch(form[2], -1) {
		if err := m.option(option[1], option[2]); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
	}
	if m.to != nil && m.until != nil {
		return nil, fmt.Errorf("%s: to and until exclude each other", m)
	}
	return m, nil
}

// option sets one option of the marker.
func (m *marker) option(key, value string) (err error) {
	switch key {
	case "from":
		m.from, err = regexp.Compile(value)
	case "to":
		m.to, err = regexp.Compile(value)
	case "until":
		m.until, err = regexp.Compile(value)
	case "doc":
		if m.kind != "code" || value != "no" {
			return fmt.Errorf(`doc=%q: only doc="no" is known, and only for code`, value)
		}
		m.noDoc = true
	default:
		return fmt.Errorf("unknown option %q: there are from, to, until and doc", key)
	}
	return err
}

// cut returns the part of lines that the options from, to and until choose.
func (m *marker) cut(lines []string) ([]string, error) {
	if m.from != nil {
		at, err := onlyMatch(lines, m.from)
		if err != nil {
			return nil, err
		}
		lines = lines[at:]
	}
	end, keep := m.to, 1
	if m.until != nil {
		end, keep = m.until, 0
	}
	if end == nil {
		return lines, nil
	}
	// The search begins after the first line, so that a heading may end at
	// the next heading of the same form.
	for i := 1; i < len(lines); i++ {
		if end.MatchString(lines[i]) {
			return lines[:i+keep], nil
		}
	}
	return nil, fmt.Errorf("no line after the first matches %q", end)
}

// onlyMatch returns the index of the one line that matches. More than one is
// an error: the text would show whichever comes first, by accident.
func onlyMatch(lines []string, pattern *regexp.Regexp) (int, error) {
	at := -1
	for i, line := range lines {
		if !pattern.MatchString(line) {
			continue
		}
		if at >= 0 {
			return 0, fmt.Errorf("lines %d and %d both match %q", at+1, i+1, pattern)
		}
		at = i
	}
	if at < 0 {
		return 0, fmt.Errorf("no line matches %q", pattern)
	}
	return at, nil
}
