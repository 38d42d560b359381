// A bridge is a switch inside the kernel: a link that passes frames between
// the links that are its ports. With an address of its own it is also a link
// of the host, and so the containers' gateway (man 8 ip-link, the kernel's
// Documentation/networking/bridge.rst). Links are made, changed and removed by
// messages on a netlink socket (man 7 rtnetlink); ip(8) sends the same ones.

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// ensureBridge makes the bridge, or finds it, and gives it its address. Ports
// stay as the kernel makes them: not isolated, as containers of one network
// may talk to each other, and without hairpin, as no frame has to leave by the
// port that it came from.
func ensureBridge(h *netlink.Handle, name string, address netip.Prefix) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	// A bridge without a MAC of its own takes the lowest of its ports', and
	// changes it when ports come and go, behind the containers' ARP caches.
	attrs.HardwareAddr = hardwareAddr(address.Addr())
	err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		err = fmt.Errorf("create bridge %q: %w", name, err)
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = hint.Add(err, "the kernel has no bridges: modprobe bridge")
		}
		return nil, err
	}
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find bridge %q: %w", name, err)
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("link %q is a %s, not a bridge", name, link.Type())
	}
	if err := quiet6(name); err != nil {
		return nil, err
	}
	if err := h.AddrReplace(link, addr(address)); err != nil {
		return nil, fmt.Errorf("add address %s to bridge %q: %w", address, name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set bridge %q up: %w", name, err)
	}
	return link, nil
}

// refuseForeignLink is for a network that is not there yet: then a link with
// the bridge's name is someone else's, and would be removed with our network.
func refuseForeignLink(name string) error {
	_, err := netlink.LinkByName(name)
	if _, free := errors.AsType[netlink.LinkNotFoundError](err); free {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for link %q: %w", name, err)
	}
	return hint.Add(fmt.Errorf("a link %q exists already, and is not ours", name),
		"a network with another state folder may use it: choose another bridge name and subnet; if nobody does: ip link delete "+name)
}

// removeLink removes the link name if it is there and of that kind. With one
// end of a veth pair the other one goes.
func removeLink(name, kind string) error {
	link, err := netlink.LinkByName(name)
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s %q: %w", kind, name, err)
	}
	if link.Type() != kind {
		return nil // not ours
	}
	// ENODEV: the container's namespace has died meanwhile, with its veth.
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s %q: %w", kind, name, err)
	}
	return nil
}

// hardwareAddr makes a MAC from an IPv4 address: locally administered, unicast
// (the 02; the rest is a name). As an address always has the same MAC, no
// neighbour's ARP cache is wrong when the address passes to another container.
func hardwareAddr(a netip.Addr) net.HardwareAddr {
	ip := a.As4()
	return net.HardwareAddr{0x02, 0x5f, ip[0], ip[1], ip[2], ip[3]}
}

// addr writes a prefix as netlink wants it.
func addr(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}
