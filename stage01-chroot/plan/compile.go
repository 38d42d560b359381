package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"skiff.example/stage01-chroot/plan/machine"
)

// From a plan to a program: names and flags go, and what is left are the numbers
// and addresses that syscall(2) takes.

// Compile turns the plan into machine words, for which the caller is to call Close.
// It fails on what the machine has no room for.
func (p *Plan) Compile() (*machine.Program, error) {
	if len(p.steps) == 0 || len(p.steps) > machine.MaxOps {
		return nil, fmt.Errorf("plan: %d steps, want 1 to %d", len(p.steps), machine.MaxOps)
	}
	// One register more than needed, so that there is a first one to point to.
	program := machine.NewProgram(len(p.steps), len(p.registers)+1)
	for i := range program.Registers {
		program.Registers[i] = ^uintptr(0) // a failure, until a step stores its result
	}
	for i, s := range p.steps {
		op, err := s.compile(memory{program})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("plan: step %d, %s: %w", i+1, s.What(), err), program.Close())
		}
		program.Ops[i] = op
	}
	return program, nil
}

// alive is the register of HoldAlive.
const alive = "alive"

// Alive tells the program of the plan which descriptor the child holds for as long as
// its plan goes on, by which the parent knows: see HoldAlive.
func (p *Plan) Alive(program *machine.Program, fd int) {
	if i := slices.IndexFunc(p.registers, func(r Register) bool { return r.Name == alive }); i >= 0 {
		program.Registers[i] = uintptr(fd)
	}
}

// compile makes one op.
func (s Step) compile(m memory) (machine.Op, error) {
	op := machine.Op{
		Number: s.number,
		Flow:   s.flow,
		Into:   registerIndex(s.into),
		When:   registerIndex(s.when),
		Unless: registerIndex(s.unless),
		Log:    registerIndex(s.log),
	}
	if s.broken {
		op.Number = ^uintptr(0) // no such system call: ENOSYS
	}
	if len(s.args) > len(op.Args) || len(s.accept) > len(op.Accept) {
		return op, fmt.Errorf("%d arguments and %d accepted errnos, want at most %d and %d",
			len(s.args), len(s.accept), len(op.Args), len(op.Accept))
	}
	copy(op.Accept[:], s.accept)
	for j, a := range s.args {
		if err := checkStrings(a); err != nil {
			return op, err
		}
		op.Args[j] = a.word(m)
		if _, ok := a.(Register); ok {
			op.FromRegister |= 1 << j
		}
	}
	return op, nil
}

// checkStrings refuses a NUL byte in a string: the kernel would see it as the
// end, and a path that was to be hidden would become another one.
func checkStrings(a Arg) error {
	var all []string
	switch a := a.(type) {
	case stringArg:
		all = []string{string(a)}
	case stringsArg:
		all = a
	}
	for _, s := range all {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("%q contains a NUL byte", s)
		}
	}
	return nil
}
