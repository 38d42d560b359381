// Package world makes a little world of network namespaces, in which a demo
// or a test can route, translate and filter real packets without touching the
// network of the machine that it runs on:
//
//	outside  198.51.100.2    stands for the internet
//	   │
//	   │ veth pair           a cable
//	   │
//	host  198.51.100.1       the namespace that the program runs in
//
// The namespace that plays the host has to be the program's own, since all its
// threads live there: Command runs the program again in a new one, and New
// builds the rest around it. Everything ends with the process.
package world

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage06-network/netns"
)

// Uplink is the host's link to the outside.
const Uplink = "uplink"

// length is that of the prefix of both addresses (RFC 5737, TEST-NET-2).
const length = 24

// World is a host, which is the namespace of the caller, and an outside.
type World struct {
	Outside        *netns.Namespace // the other host; its link is eth0
	HostAddress    netip.Addr       // the host's address on Uplink
	OutsideAddress netip.Addr       // the host's default route leads there
}

// Command returns a command that runs this very program again, with these
// arguments and with our standard input and outputs, in a new network
// namespace. It is killed when the thread that starts it ends.
func Command(args ...string) *exec.Cmd {
	// Not os.Executable: the file may have been replaced since we started.
	c := exec.Command("/proc/self/exe", args...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	return c
}

// New makes the world around the calling process, whose network namespace must
// be a new one: any link besides lo is an error, as it would be a real one.
func New() (*World, error) {
	if err := refuseRealLinks(); err != nil {
		return nil, err
	}
	outside, err := netns.New()
	if err != nil {
		return nil, err
	}
	w := &World{
		Outside:        outside,
		HostAddress:    netip.MustParseAddr("198.51.100.1"),
		OutsideAddress: netip.MustParseAddr("198.51.100.2"),
	}
	if err := w.wire(); err != nil {
		return nil, errors.Join(fmt.Errorf("make a world: %w", err), w.Close())
	}
	return w, nil
}

func refuseRealLinks() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, link := range links {
		if link.Attrs().Flags&net.FlagLoopback == 0 {
			return hint.Add(fmt.Errorf("make a world: this network namespace has a link %q of its own", link.Attrs().Name),
				"run the program in a new network namespace: world.Command, or unshare --net")
		}
	}
	return nil
}

// wire lays the cable, and sets up its two ends.
func (w *World) wire() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Uplink
	pair := netlink.NewVeth(attrs)
	pair.PeerName = "eth0"
	pair.PeerNamespace = netlink.NsFd(w.Outside.Fd())
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("create veth pair %q: %w", Uplink, err)
	}
	if err := setUp("lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := setUp(Uplink, netip.PrefixFrom(w.HostAddress, length)); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: pair.Attrs().Index, Gw: w.OutsideAddress.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add default route via %s: %w", w.OutsideAddress, err)
	}
	return w.Outside.Do(func() error {
		return setUp("eth0", netip.PrefixFrom(w.OutsideAddress, length))
	})
}

// setUp gives a link its address, if any, and switches it on.
func setUp(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %q: %w", name, err)
	}
	if address.IsValid() {
		ip := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
			return fmt.Errorf("add address %s to %q: %w", address, name, err)
		}
	}
	// No link-local address, which would come seconds later. EAFNOSUPPORT: a
	// kernel without IPv6.
	if err := netlink.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("switch IPv6 addresses of %q off: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %q up: %w", name, err)
	}
	return nil
}

// Mirror starts a server on the outside which tells each caller over TCP the
// address that it sees him under, as one line, and hangs up. It returns the
// server's address; closing the Closer ends it.
func (w *World) Mirror() (netip.AddrPort, io.Closer, error) {
	var listener net.Listener
	err := w.Outside.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(w.OutsideAddress, 0).String())
		return err
	})
	if err != nil {
		return netip.AddrPort{}, nil, fmt.Errorf("start the mirror: %w", err)
	}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			caller := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			fmt.Fprintln(c, caller.Addr()) // a caller who is gone needs no answer
			c.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort(), listener, nil
}

// Run runs a program inside a network namespace and returns what it printed,
// without the last newline. The error has what it printed as well.
func Run(in *netns.Namespace, program string, args ...string) (string, error) {
	var out []byte
	err := in.Do(func() (err error) {
		out, err = exec.Command(program, args...).CombinedOutput()
		return err
	})
	text := strings.TrimRight(string(out), "\n")
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// Close removes the cable, and with it the host's default route, and lets the
// outside go. The host's lo stays up.
func (w *World) Close() error {
	var failed error
	link, err := netlink.LinkByName(Uplink)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); err != nil && !gone {
		failed = fmt.Errorf("delete veth pair %q: %w", Uplink, err)
	}
	return errors.Join(failed, w.Outside.Close())
}
