package container

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open files for others: whoever listens at a unix socket gets a terminal's master,
// or a pidfd of a new process: SCM_RIGHTS in unix(7), pidfd_open(2).

// sendTerminal sends a terminal's master to a console socket. The message is the
// terminal's name, as in runc.
func sendTerminal(socket string, master *os.File) error {
	return sendFile(socket, master.Name(), master)
}

// sendFile sends an open file to the socket at path, with a message.
func sendFile(path, message string, f *os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("connect to socket %q: %w", path, err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to socket %q: %w", path, err)
	}
	if err := unix.Sendmsg(fd, []byte(message), unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return fmt.Errorf("send a descriptor to socket %q: %w", path, err)
	}
	return nil
}
