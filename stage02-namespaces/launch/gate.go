package launch

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/plan"
)

// Waiting for the parent: a pipe(7) at which the child stops until the host is
// ready for it.

// gateByte is what comes through a gate: "go".
const gateByte = 'g'

// A Gate is where a child waits while its parent does what only the parent
// can: write the id maps, put the child into a cgroup, give it a network. It
// is a pipe: the child reads a byte, and the parent writes it.
//
// When the parent dies instead, the child reads end of file and fails; so no
// half-made container ever runs. For that the child must first close its own
// copy of the writing end.
type Gate struct{ read, write *os.File }

// NewGate makes a gate.
func NewGate() (*Gate, error) {
	r, w, err := Pipe()
	if err != nil {
		return nil, err
	}
	return &Gate{r, w}, nil
}

// Steps are what the child does to wait.
func (g *Gate) Steps() []plan.Step {
	return []plan.Step{
		plan.Close(plan.Descriptor{Number: int(g.write.Fd()), Name: "gate_write"}).
			Doing("close the parent's end of the gate"),
		plan.ReadByte(plan.Descriptor{Number: int(g.read.Fd()), Name: "gate"}, gateByte).
			Doing("wait until the parent has prepared the host"),
	}
}

// Open lets the child go on.
func (g *Gate) Open() error {
	if _, err := g.write.Write([]byte{gateByte}); err != nil {
		return fmt.Errorf("open the gate: %w", err)
	}
	return nil
}

// Close gives the descriptors back. A child that still waits then fails.
func (g *Gate) Close() error {
	err := g.read.Close()
	if e := g.write.Close(); err == nil {
		err = e
	}
	return err
}

// Pipe is os.Pipe without Go's poller: both ends block, which the child's
// read(2) relies on, and which spares a process that lives for some
// milliseconds an epoll(7) instance and the threads around it.
func Pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe to the child: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "read end"), os.NewFile(uintptr(fds[1]), "write end"), nil
}
