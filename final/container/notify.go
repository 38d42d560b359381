package container

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/final/security"
	"skiff.example/final/security/seccomp"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
	"skiff.example/stage02-namespaces/launch"
)

// Calls that an agent decides about (SCMP_ACT_NOTIFY): the process that installs
// its seccomp filter gets a descriptor on which the agent is to listen, and the
// parent brings it there: seccomp_unotify(2), runtime-spec config-linux.md, "The
// Container Process State".

// A listener is on its way from a new process to the agent. Nil is that of a
// profile that does not notify.
type listener struct {
	profile      *specs.LinuxSeccomp
	ours, childs *os.File // see security.Handover
}

// newListener prepares the way, before the process is born. Nil is no container.
func newListener(s *specs.Spec) (*listener, error) {
	if s == nil || !seccomp.Notifies(s.Linux.Seccomp) {
		return nil, nil
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make sockets for the seccomp listener: %w", err)
	}
	return &listener{s.Linux.Seccomp, os.NewFile(uintptr(ends[0]), "parent's end"), os.NewFile(uintptr(ends[1]), "child's end")}, nil
}

// forPlan names the two descriptors that the plan needs.
func (l *listener) forPlan() *security.Handover {
	if l == nil {
		return nil
	}
	return &security.Handover{
		Parent: plan.Descriptor{Number: int(l.ours.Fd()), Name: "listener_parent"},
		Child:  plan.Descriptor{Number: int(l.childs.Fd()), Name: "listener_child"},
	}
}

// handOver waits until the process has a listener, sends it to the agent, and lets
// the process go on. state is that of the container. When the plan fails before,
// that is no error here: who waits for the plan tells it.
func (l *listener) handOver(process *launch.Process, state specs.State) error {
	if l == nil {
		return nil
	}
	if err := closeFile(&l.childs); err != nil { // or the read would not end when the process does
		return err
	}
	var number [8]byte
	if _, err := io.ReadFull(l.ours, number[:]); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return fmt.Errorf("wait for the seccomp listener: %w", err)
	}
	if err := l.send(process, int(binary.NativeEndian.Uint64(number[:])), state); err != nil {
		return fmt.Errorf("hand the seccomp listener over: %w", err)
	}
	if _, err := l.ours.Write([]byte{security.Taken}); err != nil {
		return fmt.Errorf("hand the seccomp listener over: %w", err)
	}
	return nil
}

// send takes the process's descriptor and sends it with the container process
// state, in one message on a connection of its own.
func (l *listener) send(process *launch.Process, number int, state specs.State) error {
	fd, err := unix.PidfdGetfd(int(process.Pidfd().Fd()), number, 0)
	if err != nil {
		return hint.Add(fmt.Errorf("take descriptor %d of process %d: %w", number, process.Pid, err), "pidfd_getfd needs the right to ptrace the process")
	}
	f := os.NewFile(uintptr(fd), specs.SeccompFdName)
	defer f.Close()
	text, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: process.Pid, Metadata: l.profile.ListenerMetadata, State: state,
	})
	if err != nil {
		return err
	}
	return hint.Add(sendFile(l.profile.ListenerPath, string(text), f), "linux.seccomp.listenerPath is where the agent must wait")
}

// handOverListener is handOver for a container's first process. To the agent the
// container is being created: runtime.md, "State".
func (c *Container) handOverListener() error {
	state := c.state.State
	state.Status = specs.StateCreating
	return errors.Join(c.listener.handOver(c.process, state), c.listener.Close())
}

// Close closes what is still open of the way.
func (l *listener) Close() error {
	if l == nil {
		return nil
	}
	return errors.Join(closeFile(&l.childs), closeFile(&l.ours))
}
