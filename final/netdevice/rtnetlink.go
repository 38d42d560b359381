package netdevice

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A conversation with the kernel about network devices, in messages on a socket:
// rtnetlink(7), netlink(7). The little that is needed here is spelled out, since
// skiff-oci starts a thousand times for each device that it moves: the library that
// stage 6 uses makes its tables at every start.

// A socket is one end of such a conversation. It speaks of the network namespace in
// which it was made.
type socket struct {
	fd       int
	sequence uint32
}

// dial opens a socket in the network namespace of this process.
func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	s := &socket{fd: fd}
	// What the kernel has to say beside the errno, and nothing repeated.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			s.close()
			return nil, fmt.Errorf("set up a netlink socket: %w", err)
		}
	}
	return s, nil
}

// dialIn opens a socket in another network namespace. A namespace belongs to a
// thread, so one thread goes there and back; if it cannot come back, it ends
// with the goroutine, because it stays locked: runtime.LockOSThread.
func dialIn(ns *os.File) (*socket, error) {
	var s *socket
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, failed := os.Open("/proc/thread-self/ns/net")
		if failed != nil {
			err = failed
			return
		}
		defer home.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter network namespace %q: %w", ns.Name(), err)
			return
		}
		s, err = dial()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return s, err
}

func (s *socket) close() { _ = unix.Close(s.fd) } // nothing was written that could be lost

// do sends a request and returns the messages that answer it: none when it merely
// succeeded.
func (s *socket) do(kind uint16, flags uint16, body []byte) ([]syscall.NetlinkMessage, error) {
	s.sequence++
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	message = binary.NativeEndian.AppendUint32(message, s.sequence)
	message = binary.NativeEndian.AppendUint32(message, 0)
	if err := unix.Sendto(s.fd, append(message, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var answers []syscall.NetlinkMessage
	buffer := make([]byte, 1<<16) // the kernel's messages have 32 KiB at most
	for {
		n, from, err := unix.Recvfrom(s.fd, buffer, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // not from the kernel: anybody may send to a netlink socket
		}
		parts, err := syscall.ParseNetlinkMessage(append([]byte(nil), buffer[:n]...))
		if err != nil {
			return nil, err
		}
		for _, part := range parts {
			switch part.Header.Type {
			case unix.NLMSG_ERROR:
				return answers, acknowledged(part)
			case unix.NLMSG_DONE:
				return answers, nil
			}
			answers = append(answers, part)
		}
	}
}

// A refusal is an errno with the kernel's own words.
type refusal struct {
	errno   unix.Errno
	message string
}

func (r refusal) Error() string { return r.errno.Error() + ": " + r.message }
func (r refusal) Unwrap() error { return r.errno }

// acknowledged is what a message of the type NLMSG_ERROR says: success is one, too.
func acknowledged(m syscall.NetlinkMessage) error {
	const echo = 4 + unix.NLMSG_HDRLEN // the errno, and the header of the request
	const message = 1                  // NLMSGERR_ATTR_MSG
	if len(m.Data) < 4 {
		return unix.EBADMSG
	}
	errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	if errno == 0 {
		return nil
	}
	if len(m.Data) > echo {
		for kind, value := range attributes(m.Data[echo:]) {
			if kind == message {
				return refusal{errno, text(value)}
			}
		}
	}
	return errno
}
