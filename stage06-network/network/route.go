// The host's routes say which addresses are taken, and how large a packet may
// be on its way out (man 8 ip-route).

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

// refuseOverlap is an error when the host has a route into subnet, or a route
// that subnet is a part of: one of the two would then be unreachable, for the
// host and for the containers.
func refuseOverlap(subnet netip.Prefix) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer h.Close()
	all, err := routes(h, unix.RT_TABLE_UNSPEC)
	if err != nil {
		return err
	}
	for _, r := range all {
		if to, ok := destination(r); ok && !isDefault(to) && to.Overlaps(subnet) {
			return hint.Add(fmt.Errorf("subnet %s overlaps the host's route %s", subnet, describe(h, to, r)),
				"choose another subnet for the containers, for instance 10.183.0.0/24")
		}
	}
	return nil
}

// isDefault also takes 0.0.0.0/1 and 128.0.0.0/1 for a default route: VPNs set
// this pair to win over the default route without replacing it.
func isDefault(p netip.Prefix) bool { return p.Bits() <= 1 }

// describe writes a route as ip-route(8) does.
func describe(h *netlink.Handle, to netip.Prefix, r netlink.Route) string {
	text := to.String()
	if r.Gw != nil {
		text += " via " + r.Gw.String()
	}
	// Links come and go; without one the rest of the text still helps.
	if link, err := h.LinkByIndex(r.LinkIndex); err == nil {
		text += " dev " + link.Attrs().Name
	}
	return text
}

// defaultMTU is Ethernet's, in bytes.
const defaultMTU = 1500

// uplinkMTU returns the MTU of the link that the host's default route leaves
// by. In a VPN or a cloud it is smaller than Ethernet's; containers that
// believe in 1500 then depend on ICMP messages that many firewalls drop.
func uplinkMTU(h *netlink.Handle) (int, error) {
	main, err := routes(h, unix.RT_TABLE_MAIN)
	if err != nil {
		return 0, err
	}
	best := -1
	for i, r := range main {
		to, ok := destination(r)
		if ok && isDefault(to) && r.LinkIndex > 0 && (best < 0 || r.Priority < main[best].Priority) {
			best = i
		}
	}
	if best < 0 {
		return defaultMTU, nil
	}
	link, err := h.LinkByIndex(main[best].LinkIndex)
	if err != nil {
		return 0, fmt.Errorf("find the default route's link: %w", err)
	}
	return link.Attrs().MTU, nil
}

// routes lists the IPv4 routes of a table; RT_TABLE_UNSPEC stands for all.
func routes(h *netlink.Handle, table int) ([]netlink.Route, error) {
	filter := &netlink.Route{Table: table}
	for {
		list, err := h.RouteListFiltered(unix.AF_INET, filter, netlink.RT_FILTER_TABLE)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue // a route changed while the kernel was listing them
		}
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		return list, nil
	}
}

// destination returns where a route leads, if that is an IPv4 prefix.
func destination(r netlink.Route) (netip.Prefix, bool) {
	if r.Dst == nil {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	ip, ok := netip.AddrFromSlice(net.IP(r.Dst.IP).To4())
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(ip, bits), ok
}
