package container

import (
	"errors"
	"io"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"skiff.example/stage02-namespaces/launch"
)

// Who cannot wait for a process ends it: nobody else would.
func TestAProcessThatCannotBeWaitedForIsKilled(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	assert.NilError(t, cmd.Start())
	p, err := launch.Adopt(cmd.Process.Pid)
	assert.NilError(t, err)
	defer p.Close()
	var ends [2]int
	assert.NilError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
	defer unix.Close(ends[0])
	assert.NilError(t, unix.Close(ends[1])) // poll(2) says: look at it
	n := newcomer{process: p, options: Options{Warn: io.Discard}}
	_, err = n.wait(&Signals{broken(ends[0])}, p.Signal)
	assert.ErrorIs(t, err, errBroken)
	assert.ErrorIs(t, unix.Kill(p.Pid, 0), unix.ESRCH)
}

// broken is a pipe that cannot be read.
type broken int

var errBroken = errors.New("broken")

func (b broken) Descriptor() int               { return int(b) }
func (broken) Read() ([]syscall.Signal, error) { return nil, errBroken }
func (broken) Close() error                    { return nil }
