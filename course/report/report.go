// Package report is the form in which the course's checkers say what is wrong:
// one line for each fault, with the file and the line where it is mended, in
// the shape that compilers use and editors jump to.
package report

import (
	"cmp"
	"fmt"
	"slices"
)

// Problem is one fault of the tree.
type Problem struct {
	File string // path from the root of the tree, with slashes
	Line int    // counted from 1; 0 when the fault is the file's as a whole
	What string // the fault, and where there is one the remedy
}

// String returns "file:line: what", or "file: what" for a whole file.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.What
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.What)
}

// Sort puts the problems in the order of the files and their lines.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
