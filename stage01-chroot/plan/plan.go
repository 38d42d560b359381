package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"skiff.example/stage01-chroot/plan/machine"
)

// The list itself: how it grows, how it is printed, and how it is broken on
// purpose.

// A Plan is an ordered list of steps. The zero value is an empty plan.
type Plan struct {
	steps     []Step
	registers []Register
	chapter   int
	section   string
}

// Section says what the steps that are added from here on are for: the
// chapter of workshop.md that explains them, and a heading.
func (p *Plan) Section(chapter int, title string) {
	p.chapter, p.section = chapter, title
}

// usualLength is how many steps a container's plan has, more or less.
const usualLength = 512

// Add appends steps.
func (p *Plan) Add(steps ...Step) {
	if p.steps == nil {
		p.steps = make([]Step, 0, usualLength) // growing step by step copies them all, eight times
	}
	for _, s := range steps {
		s.Chapter, s.Section = p.chapter, p.section
		p.steps = append(p.steps, s)
	}
}

// Register returns the register of this name, a new one the first time.
func (p *Plan) Register(name string) Register {
	i := slices.IndexFunc(p.registers, func(r Register) bool { return r.Name == name })
	if i < 0 {
		i = len(p.registers)
		p.registers = append(p.registers, Register{name, i})
	}
	return p.registers[i]
}

// Steps returns the steps in order. They are the plan's own: not to be
// changed.
func (p *Plan) Steps() []Step { return p.steps }

// Len is the number of steps.
func (p *Plan) Len() int { return len(p.steps) }

// Doing says what step number i (from 0) does, as errors say it.
func (p *Plan) Doing(i int) string {
	if i < 0 || i >= len(p.steps) {
		return "before the first step"
	}
	return p.steps[i].What()
}

// EndsAt tells whether the plan is over when step number i has succeeded:
// that step is an execve(2) or an exit.
func (p *Plan) EndsAt(i int) bool {
	return i >= 0 && i < len(p.steps) && (p.steps[i].call == "execve" || p.steps[i].call == "exit_group")
}

// Splits tells whether a step clones a process that goes on with the plan.
func (p *Plan) Splits() bool {
	return slices.ContainsFunc(p.steps, func(s Step) bool { return s.flow&machine.Split != 0 })
}

// Break returns a copy of the plan whose step number i (from 0) fails, with
// ENOSYS, whatever it would have done: for tests that prove that a failure at
// any place leaves nothing behind.
func (p *Plan) Break(i int) *Plan {
	q := *p
	q.steps = slices.Clone(p.steps)
	s := &q.steps[i]
	s.broken, s.when, s.unless, s.accept = true, nil, nil, nil
	return &q
}

// Print writes the plan, a step a line, under its headings.
func (p *Plan) Print(w io.Writer) error {
	_, err := io.WriteString(w, p.String())
	return err
}

// String is what Print writes.
func (p *Plan) String() string {
	var b strings.Builder
	section := ""
	for _, s := range p.steps {
		if s.Section != section {
			section = s.Section
			fmt.Fprintf(&b, "%s# %s (chapter %d)\n", blankLine(b.Len()), s.Section, s.Chapter)
		}
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// blankLine separates headings, save the first.
func blankLine(written int) string {
	if written == 0 {
		return ""
	}
	return "\n"
}
