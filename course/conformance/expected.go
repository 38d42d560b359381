package conformance

// This file reads expected.txt, which says what skiff-oci's result is, and
// compares it with one. Its lines:
//
//	program verdict [N skipped]          at the margin, in the order of names
//		fault                        indented once, one line each, as Outcome.Faults tells it
//			who: why             indented twice, for the faults above it
//
// Who is one of machine (the controller, the right or the module that the
// point needs is not there), test (the program is wrong), choice (we do
// otherwise on purpose, as other runtimes do) and ours (a fault of skiff-oci).
// It is race where the program is wrong only when it is too fast or too slow:
// such a fault may be missing, and the verdict is the one without it. It is some where
// only some machines have what the fault is about.

import (
	_ "embed" // the list
	"fmt"
	"slices"
	"strings"

	"skiff.example/course/report"
)

//go:embed expected.txt
var expectedText string

// expectedFile is the list's path from the root of the tree.
const expectedFile = "course/conformance/expected.txt"

// reasons are the words before the colon.
var reasons = []string{"machine", "test", "choice", "ours", race, some}

// Faults for these reasons may be missing.
const race, some = "race", "some"

// expectation is what the list says about a program.
type expectation struct {
	line   int    // in the list
	head   string // "default ok 42 skipped"
	faults []string
	who    []string // for each fault
}

// Compare returns where the outcomes differ from the list. A program that is
// not among the outcomes is missing, unless only is set.
func Compare(outcomes []Outcome, only bool) ([]report.Problem, error) {
	return compare(expectedText, outcomes, only)
}

func compare(text string, outcomes []Outcome, only bool) ([]report.Problem, error) {
	list, err := readExpected(text)
	if err != nil {
		return nil, err
	}
	var problems []report.Problem
	for _, o := range outcomes {
		e, listed := list[o.Program]
		if !listed {
			problems = append(problems, problem(0, "%s is not listed; it is now:%s", o.Program, indented(o)))
			continue
		}
		delete(list, o.Program)
		if !e.met(o) {
			problems = append(problems, problem(e.line, "%s is not as listed; it is now:%s", o.Program, indented(o)))
		}
	}
	for program, e := range list {
		if !only {
			problems = append(problems, problem(e.line, "%s was not run", program))
		}
	}
	report.Sort(problems)
	return problems, nil
}

// met tells whether an outcome is the expected one.
func (e expectation) met(o Outcome) bool {
	var sure, may []string
	for i, fault := range e.faults {
		if e.who[i] == race || e.who[i] == some {
			may = append(may, fault)
		} else {
			sure = append(sure, fault)
		}
	}
	faults := o.Faults()
	rest := slices.DeleteFunc(slices.Clone(faults), func(fault string) bool { return slices.Contains(may, fault) })
	return slices.Equal(rest, sure) && (len(rest) < len(faults) || e.head == head(o))
}

func problem(line int, format string, args ...any) report.Problem {
	return report.Problem{File: expectedFile, Line: line, What: fmt.Sprintf(format, args...)}
}

// head is the line at the margin for an outcome.
func head(o Outcome) string {
	text := fmt.Sprintf("%s %s", o.Program, o.Verdict())
	if n := o.Skipped(); n > 0 {
		text += fmt.Sprintf(" %d skipped", n)
	}
	return text
}

// indented is an outcome as it would stand in the list, without reasons.
func indented(o Outcome) string {
	lines := append([]string{"\n" + head(o)}, o.Faults()...)
	return strings.Join(lines, "\n\t")
}

// readExpected reads the list and checks that every fault has a reason.
func readExpected(text string) (map[string]expectation, error) {
	list := map[string]expectation{}
	program, line := "", 0
	for content := range strings.Lines(text) {
		line++
		content = strings.TrimRight(content, "\n")
		rest := strings.TrimLeft(content, "\t")
		e := list[program]
		switch indent := len(content) - len(rest); {
		case rest == "" || rest[0] == '#':
			continue
		case indent == 0:
			program, _, _ = strings.Cut(rest, " ")
			if _, twice := list[program]; twice {
				return nil, fmt.Errorf("%s:%d: %s a second time", expectedFile, line, program)
			}
			e = expectation{line: line, head: rest}
		case indent == 1:
			e.faults = append(e.faults, rest)
		default:
			who, why, _ := strings.Cut(rest, ": ")
			if !slices.Contains(reasons, who) || why == "" || len(e.who) == len(e.faults) {
				return nil, fmt.Errorf("%s:%d: want faults, then one of %s, a colon and why", expectedFile, line, strings.Join(reasons, ", "))
			}
			for len(e.who) < len(e.faults) {
				e.who = append(e.who, who)
			}
		}
		list[program] = e
	}
	for program, e := range list {
		if len(e.who) < len(e.faults) {
			return nil, fmt.Errorf("%s:%d: %s has a fault without a reason", expectedFile, e.line, program)
		}
	}
	return list, nil
}
