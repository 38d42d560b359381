// Package netns makes, opens and visits network namespaces.
//
// A network namespace has its own links, addresses, routes, packet filter and
// settings below /proc/sys/net (man 7 network_namespaces). It is a property
// of a thread. Go moves goroutines between threads as it likes, so a visit
// takes a thread for itself, moves it, and moves it back (man 2 setns). What
// is made during a visit stays where it was made: a socket belongs for ever
// to the namespace in which it was opened, and a process starts in that of
// the thread that forked it.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// own is the network namespace of the calling thread. It is not "self",
// which is the process's first thread whichever thread asks (man 5 proc).
const own = "/proc/thread-self/ns/net"

// Namespace is an open network namespace. It lives as long as a process is in
// it, a mount shows it, or a descriptor like this one refers to it.
type Namespace struct {
	file *os.File
}

// Open opens the network namespace at path, such as /proc/PID/ns/net. It is
// an error when path is something else, also a namespace of another kind.
func Open(path string) (*Namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %q: %w", path, reason(err))
	}
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE) // man 2 ioctl_ns
	if err == nil && kind == unix.CLONE_NEWNET {
		return &Namespace{file}, nil
	}
	return nil, errors.Join(fmt.Errorf("open network namespace %q: it is not a network namespace", path), file.Close())
}

// New makes an empty network namespace: its only link is lo, which is up. No
// process is in it; it ends with Close, or with this process.
func New() (*Namespace, error) {
	n := new(Namespace)
	unshare := func() error { return unix.Unshare(unix.CLONE_NEWNET) }
	err := visit(unshare, func() (err error) {
		if n.file, err = os.Open(own); err != nil {
			return err
		}
		return up("lo")
	})
	if err != nil {
		err = fmt.Errorf("make a network namespace: %w", err)
		if errors.Is(err, unix.EPERM) {
			err = hint.Add(err, "a network namespace needs CAP_SYS_ADMIN: run it as root")
		}
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Fd returns the descriptor, for messages to the kernel that name the
// namespace by it. It is valid until Close.
func (n *Namespace) Fd() int { return int(n.file.Fd()) }

// Path returns a path by which any process of this machine that may look at
// ours can open the namespace, until Close.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.Fd()) }

// ID returns the kernel's name for the namespace: net:[inode].
func (n *Namespace) ID() (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n.Fd()))
}

// Current returns the ID of the network namespace of the calling thread.
func Current() (string, error) { return os.Readlink(own) }

// Do calls do on a thread that is inside the namespace. do must return: it
// must neither panic nor end its goroutine, as testing's Fatal does.
func (n *Namespace) Do(do func() error) error {
	enter := func() error { return unix.Setns(n.Fd(), unix.CLONE_NEWNET) }
	return visit(enter, do)
}

// Close closes the descriptor; closing what was never opened is fine.
func (n *Namespace) Close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}

// visit runs enter and do, one after the other, on a thread of their own.
func visit(enter, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := thereAndBack(enter, do)
		if home {
			runtime.UnlockOSThread()
		}
		// Otherwise the lock stays, and Go ends the thread together with this
		// goroutine: no other goroutine ever runs on a thread that is lost.
		done <- err
	}()
	return <-done
}

// thereAndBack reports whether the thread is where it was before.
func thereAndBack(enter, do func() error) (home bool, err error) {
	back, err := os.Open(own)
	if err != nil {
		return true, err
	}
	defer func() { err = errors.Join(err, back.Close()) }()
	if err := enter(); err != nil {
		return true, fmt.Errorf("enter the network namespace: %w", err)
	}
	err = do()
	if e := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); e != nil {
		return false, errors.Join(err, fmt.Errorf("leave the network namespace: %w", e))
	}
	return true, err
}

// up switches a link of the calling thread's namespace on.
func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %q: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %q up: %w", name, err)
	}
	return nil
}

// reason returns what is below err's path, which our own message names.
func reason(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}
