package look

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// What table and tree have in common: columns, branches, and text that comes
// from a container and is put on somebody's terminal.

// page collects lines with columns (cells that end in a tab) and writes them
// when it is complete.
type page struct {
	*tabwriter.Writer
	out  io.Writer
	text strings.Builder
}

func newPage(w io.Writer) *page {
	p := &page{out: w}
	p.Writer = tabwriter.NewWriter(&p.text, 0, 0, 2, ' ', tabwriter.StripEscape)
	return p
}

// line adds a line.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// end writes the page, without the blanks that padding leaves at the end of
// lines.
func (p *page) end() error {
	if err := p.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(p.text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// A branch is a line of a tree and what hangs below it.
type branch struct {
	text  string
	below []*branch
}

// draw adds the branch to a page, with the lines that join it to its parent.
func (b *branch) draw(p *page) { b.drawBelow(p, "", "") }

func (b *branch) drawBelow(p *page, first, rest string) {
	p.line("%s%s", first, b.text)
	for i, child := range b.below {
		if i < len(b.below)-1 {
			child.drawBelow(p, rest+"├─ ", rest+"│  ")
		} else {
			child.drawBelow(p, rest+"└─ ", rest+"   ")
		}
	}
}

// safe quotes a text that is empty or has other characters than printable
// ones: whoever names a process or a mount point must not write commands to our
// terminal, nor start a new line or column.
func safe(s string) string {
	odd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// shorten cuts a text to a number of characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// describe is what a process runs: its arguments, or its name in brackets, as
// ps(1) has it for kernel threads and zombies.
func (p *Process) describe() string {
	const most = 60
	if len(p.Command) == 0 {
		return "[" + safe(p.Name) + "]"
	}
	return shorten(safe(strings.Join(p.Command, " ")), most)
}
