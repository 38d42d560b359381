// A veth pair is a cable inside the kernel: two links, and what is sent into
// one comes out of the other, also when they are in different network
// namespaces (man 4 veth). One end is a port of the bridge, the other one is
// the container's eth0.

package network

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage06-network/netns"
)

// plug makes the pair and sets up both ends. One message to the kernel makes
// both, with the far one inside the container's namespace and the near one a
// port of the bridge: there is no moment when the host has a link "eth0" too
// many, or one that belongs to nothing.
func (e *Endpoint) plug(h *netlink.Handle, bridge netlink.Link, ns *netns.Namespace, id string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = e.HostLink
	attrs.MasterIndex = bridge.Attrs().Index
	attrs.MTU = e.MTU
	pair := netlink.NewVeth(attrs)
	pair.PeerName = e.Interface
	pair.PeerHardwareAddr = e.MAC
	pair.PeerNamespace = netlink.NsFd(ns.Fd())
	if err := h.LinkAdd(pair); err != nil {
		return explainPair(fmt.Errorf("create veth pair %q and %q in the container: %w", e.HostLink, e.Interface, err))
	}
	if err := quiet6(e.HostLink); err != nil {
		return err
	}
	if err := h.LinkSetAlias(pair, "container "+id); err != nil { // for people: ip link shows it
		return fmt.Errorf("set alias of %q: %w", e.HostLink, err)
	}
	if err := h.LinkSetUp(pair); err != nil {
		return fmt.Errorf("set link %q up: %w", e.HostLink, err)
	}
	if err := ns.Do(e.configure); err != nil {
		return err
	}
	return awaitUp(h, e.HostLink)
}

func explainPair(err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return hint.Add(err, "the container's namespace has a link of that name: it is attached to another network")
	case errors.Is(err, unix.EOPNOTSUPP):
		return hint.Add(err, "the kernel has no veth pairs: modprobe veth")
	}
	return err
}

// configure runs inside the container's namespace, and sets up its end. The
// netlink socket belongs to the namespace as it is opened there.
func (e *Endpoint) configure() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket in the container: %w", err)
	}
	defer h.Close()
	if _, err := setUp(h, "lo"); err != nil {
		return err
	}
	if err := quiet6(e.Interface); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	link, err := setUp(h, e.Interface)
	if err != nil {
		return err
	}
	if err := h.AddrAdd(link, addr(e.Address)); err != nil {
		return fmt.Errorf("add address %s to %q in the container: %w", e.Address, e.Interface, err)
	}
	// Without Dst it is the default route.
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: e.Gateway.AsSlice()}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("add default route via %s in the container: %w", e.Gateway, err)
	}
	if err := awaitUp(h, e.Interface); err != nil {
		return fmt.Errorf("in the container: %w", err)
	}
	return nil
}

// upWithin is how long a link may take to come up; mostly it is no time.
const upWithin = 5 * time.Second

// awaitUp waits until the kernel has noticed that the cable has two ends. A
// queue does that, after LinkSetUp has returned (net/core/link_watch.c); until
// then the link, and the port of the bridge, lose every packet, and a program
// that starts at once waits a second for its first answer. From Linux 6.8 on
// the question alone makes the kernel hurry.
func awaitUp(h *netlink.Handle, name string) error {
	for end := time.Now().Add(upWithin); ; time.Sleep(time.Millisecond) {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %q: %w", name, err)
		}
		state := link.Attrs().OperState
		if state == netlink.OperUp {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("link %q is still %s after %s", name, state, upWithin)
		}
	}
}

// setUp finds a link of the container and switches it on.
func setUp(h *netlink.Handle, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %q in the container: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set %q up in the container: %w", name, err)
	}
	return link, nil
}
