package text

// This file reads a Markdown page into the parts that the checks look at: the
// fenced blocks with their markers, and the prose between them. It follows
// CommonMark (spec.commonmark.org, "Fenced code blocks", "Code spans", "HTML
// blocks") as far as the course's pages go: fences may be indented, as in a
// list, but not stand in a block quote.

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"skiff.example/course/report"
)

// freeFences are the languages of blocks that need no marker: drawings, and
// commands for the learner to type.
var freeFences = []string{"text", "mermaid", "sh"}

// page is a Markdown file in parts.
type page struct {
	name   string // path from the root of the tree
	lines  []string
	blocks []block
	faults []report.Problem // what could not be understood

	// prose is the page's text with blocks and comments left blank, line for
	// line; masked is the prose with code spans turned into spaces. An offset
	// in the one or the other tells the line.
	prose, masked string
	spans         []mention
}

// block is a fenced block.
type block struct {
	line     int    // of the opening fence, counted from 1
	indent   string // before the fence, and before each line of the body
	fence    string // ``` or longer
	language string
	body     []string // without the indent
	marker   *marker  // nil where there is none
}

// mention is a piece of code in the text: a span, or a line of a block.
type mention struct {
	line int
	code string
}

var (
	openingFence = regexp.MustCompile("^([ \t]*)(```+|~~~+)[ \t]*([^ \t`]*)[^`]*$")
	quotedFence  = regexp.MustCompile("^[ \t]*>[ \t>]*(```|~~~)")
)

// readPage reads the page called name below root.
func readPage(root, name string) (*page, error) {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, err
	}
	p := &page{name: name, lines: strings.Split(string(data), "\n")}
	p.split()
	p.maskSpans()
	return p, nil
}

// at makes a problem of a line of the page.
func (p *page) at(line int, format string, args ...any) report.Problem {
	return report.Problem{File: p.name, Line: line, What: fmt.Sprintf(format, args...)}
}

// split finds the blocks, gives each the marker before it, and leaves what is
// neither as prose.
func (p *page) split() {
	prose := make([]string, len(p.lines))
	var pending *marker // a marker that has not met its block yet
	lonely := func() {
		if pending != nil {
			p.faults = append(p.faults, p.at(pending.line, "%s: no block follows the marker", pending))
			pending = nil
		}
	}
	for i := 0; i < len(p.lines); i++ {
		line := p.lines[i]
		if b, ok := p.block(i); ok {
			b.marker, pending = pending, nil
			p.blocks = append(p.blocks, b)
			i += len(b.body) + 1
			continue
		}
		if end, comment := p.comment(i); end > 0 {
			lonely()
			m, err := parseMarker(comment)
			if err != nil {
				p.faults = append(p.faults, p.at(i+1, "%v", err))
			} else if m != nil {
				m.line = i + 1
				pending = m
			}
			i = end - 1
			continue
		}
		if quotedFence.MatchString(line) {
			p.faults = append(p.faults, p.at(i+1, "a block inside a block quote is not checked: take it out of the quote"))
		}
		if strings.TrimSpace(line) != "" {
			lonely()
		}
		prose[i] = line
	}
	lonely()
	p.prose = strings.Join(prose, "\n")
}

// block returns the fenced block that opens on line i (counted from 0), if
// one does. A block that is never closed ends with the page, as in CommonMark,
// and is a fault.
func (p *page) block(i int) (block, bool) {
	m := openingFence.FindStringSubmatch(p.lines[i])
	if m == nil {
		return block{}, false
	}
	b := block{line: i + 1, indent: m[1], fence: m[2], language: m[3]}
	for _, line := range p.lines[i+1:] {
		rest := strings.TrimSpace(line)
		if strings.HasPrefix(rest, b.fence) && strings.Trim(rest, b.fence[:1]) == "" {
			return b, true
		}
		b.body = append(b.body, strings.TrimPrefix(line, b.indent))
	}
	p.faults = append(p.faults, p.at(b.line, "the block is never closed"))
	return b, true
}

// render returns the lines of the block with another body, between fences that
// are longer than any in the body.
func (b block) render(body []string) []string {
	fence := b.fence
	for _, line := range body {
		for strings.HasPrefix(strings.TrimSpace(line), fence) {
			fence += fence[:1]
		}
	}
	lines := []string{b.indent + fence + b.language}
	for _, line := range body {
		if line != "" {
			line = b.indent + line
		}
		lines = append(lines, line)
	}
	return append(lines, b.indent+fence)
}

// comment returns the HTML comment that begins line i, if one does, and the
// index of the first line after it; 0 if none does.
func (p *page) comment(i int) (end int, comment string) {
	if !strings.HasPrefix(strings.TrimSpace(p.lines[i]), "<!--") {
		return 0, ""
	}
	for end = i; end < len(p.lines); end++ {
		comment += p.lines[end] + "\n"
		if strings.Contains(p.lines[end], "-->") {
			return end + 1, strings.TrimSpace(comment)
		}
	}
	p.faults = append(p.faults, p.at(i+1, "the comment is never closed"))
	return end, ""
}

// maskSpans collects the code spans of the prose and makes the masked text. A
// span opens with a run of backticks and closes with an equal run in the same
// paragraph.
func (p *page) maskSpans() {
	masked := []byte(p.prose)
	for i := 0; i < len(p.prose); {
		if p.prose[i] != '`' {
			i++
			continue
		}
		run := backticks(p.prose[i:])
		paragraph, _, _ := strings.Cut(p.prose[i+run:], "\n\n")
		length := spanLength(paragraph, run)
		if length < 0 {
			i += run
			continue
		}
		code := strings.Join(strings.Fields(paragraph[:length]), " ")
		p.spans = append(p.spans, mention{p.line(i), code})
		for end := i + 2*run + length; i < end; i++ {
			if masked[i] != '\n' {
				masked[i] = ' '
			}
		}
	}
	p.masked = string(masked)
}

// spanLength returns the length of the code in s before the first run of
// exactly run backticks, or -1.
func spanLength(s string, run int) int {
	for i := 0; i < len(s); i++ {
		if n := backticks(s[i:]); n == run {
			return i
		} else if n > 0 {
			i += n - 1
		}
	}
	return -1
}

// backticks returns how many backticks s begins with.
func backticks(s string) int { return len(s) - len(strings.TrimLeft(s, "`")) }

// line returns the line, counted from 1, of an offset in prose or masked.
func (p *page) line(offset int) int { return 1 + strings.Count(p.prose[:offset], "\n") }
