package container

import (
	"errors"
	"fmt"
	"os"

	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// Places in the plan at which the process and this one meet: the process says
// through a pipe(7) that it has come there, and waits at a gate, or at the FIFO of
// a created container.

// A milestone is such a place, as far as the saying goes. Each end is a descriptor
// that blocks, for the reason that launch.Gate gives.
type milestone struct {
	name          string
	reached, tell *os.File
}

func newMilestone(name string) (*milestone, error) {
	reached, tell, err := launch.Pipe()
	if err != nil {
		return nil, err
	}
	return &milestone{name, reached, tell}, nil
}

// steps are what the process does there.
func (m *milestone) steps() []plan.Step {
	end := plan.Descriptor{Number: int(m.tell.Fd()), Name: m.name}
	return []plan.Step{
		plan.Write(end, "r").Doing("tell the parent: %s", m.name),
		plan.Close(end).Doing("tell the parent: %s", m.name),
	}
}

// wait waits until the process is there. If it has ended before, that is the error.
func (m *milestone) wait(process *launch.Process) error {
	if err := closeFile(&m.tell); err != nil {
		return err
	}
	n, err := m.reached.Read(make([]byte, 1))
	if n == 1 {
		return nil
	}
	if failed := process.Started(); failed != nil {
		return failed
	}
	return fmt.Errorf("the container's process has ended: %w", err)
}

// Close gives back what is open.
func (m *milestone) Close() error { return errors.Join(closeFile(&m.reached), closeFile(&m.tell)) }

// A stop is a milestone with a gate behind it.
type stop struct {
	*milestone
	gate *launch.Gate
}

func newStop(name string) (*stop, error) {
	m, err := newMilestone(name)
	if err != nil {
		return nil, err
	}
	gate, err := launch.NewGate()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &stop{m, gate}, nil
}

// steps are what the process does there; it does not stop at one that is nil.
func (s *stop) steps() []plan.Step {
	if s == nil {
		return nil
	}
	return append(s.milestone.steps(), s.gate.Steps()...)
}

// pass waits until the process is there, and lets it go on.
func (s *stop) pass(process *launch.Process) error {
	if s == nil {
		return nil
	}
	if err := s.wait(process); err != nil {
		return err
	}
	return s.gate.Open()
}

// Close gives back what is open. A process that still waits then fails.
func (s *stop) Close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.milestone.Close(), s.gate.Close())
}
