package conformance

// This file prints outcomes as a table: a line for each program, a column for
// each runtime, and below it how many programs each has passed.

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
)

// Column is a runtime's outcomes, in the order of the programs.
type Column struct {
	Runtime  string
	Outcomes []Outcome
}

// rank orders verdicts as far as one is better than another: a program
// that passes, one that ends without a failing point, and the others.
func (o Outcome) rank() int {
	switch o.Verdict() {
	case Passed, Silent:
		return 2
	case Complains:
		return 1
	}
	return 0
}

// WriteTable prints the columns. Of a single runtime it shows the first thing
// that is wrong, too.
func WriteTable(w io.Writer, columns []Column) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "program")
	for _, c := range columns {
		fmt.Fprintf(table, "\t%s", c.Runtime)
	}
	fmt.Fprintln(table, "\t")
	for i, o := range columns[0].Outcomes {
		fmt.Fprint(table, o.Program)
		for _, c := range columns {
			fmt.Fprintf(table, "\t%s", cell(c.Outcomes[i]))
		}
		first := ""
		if faults := o.Faults(); len(columns) == 1 && len(faults) > 0 {
			first = faults[0]
		}
		fmt.Fprintf(table, "\t%s\n", first)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&text)
	for _, c := range columns {
		fmt.Fprintln(&text, c.summary())
	}
	_, err := w.Write(blanks.ReplaceAll(text.Bytes(), nil))
	return err
}

// blanks are those at the ends of lines.
var blanks = regexp.MustCompile(`(?m) +$`)

// cell is an outcome in a few words: "ok 309, 42 skipped", "not ok 2 of 5".
func cell(o Outcome) string {
	failing := len(o.failing())
	switch o.Verdict() {
	case Failed:
		return fmt.Sprintf("%s %d of %d", Failed, failing, len(o.Points))
	case Passed:
		text := fmt.Sprintf("%s %d", Passed, len(o.Points)-o.Skipped())
		if n := o.Skipped(); n > 0 {
			text += fmt.Sprintf(", %d skipped", n)
		}
		return text
	}
	return string(o.Verdict())
}

// summary counts a column's verdicts.
func (c Column) summary() string {
	of := map[Verdict]int{}
	for _, o := range c.Outcomes {
		of[o.Verdict()]++
	}
	return fmt.Sprintf("%s: of %d programs %d pass, %d of these by silence; %d complain, %d have a point that fails, %d die",
		c.Runtime, len(c.Outcomes), of[Passed]+of[Silent], of[Silent], of[Complains], of[Failed], of[Died])
}

// Behind returns the programs at which the first column is worse than
// another.
func Behind(columns []Column) []string {
	var behind []string
	for i, o := range columns[0].Outcomes {
		for _, other := range columns[1:] {
			if other.Outcomes[i].rank() > o.rank() {
				behind = append(behind, fmt.Sprintf("%s: %s with %s, but %s with %s",
					o.Program, o.Verdict(), columns[0].Runtime, other.Outcomes[i].Verdict(), other.Runtime))
				break
			}
		}
	}
	return behind
}
