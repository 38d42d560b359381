package container

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// What the program inherits of whoever calls us: descriptors from 3 on, and sockets
// that a service manager has opened for it, sd_listen_fds(3).

// InheritListeners passes listening sockets on as runc does: they are descriptors
// from 3 on, and the environment says so to process 1 of the container. Those of
// KeepDescriptors come after them.
func (c *Config) InheritListeners() {
	number, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || number <= 0 || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || c.Spec.Process == nil {
		return
	}
	c.KeepDescriptors += number
	c.Spec.Process.Env = append(c.Spec.Process.Env, fmt.Sprintf("LISTEN_FDS=%d", number), "LISTEN_PID=1")
}

// checkInherited makes sure that the descriptors that the program is to inherit, so
// many from 3 on, are there and the caller's. What this program has opened itself may
// have the same numbers; but all of that closes on execve(2).
func checkInherited(number int) error {
	for fd := 3; fd < 3+number; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return hint.Add(fmt.Errorf("descriptor %d is not open", fd), "whoever starts this program must leave it open")
		}
	}
	return nil
}
