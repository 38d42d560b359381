package hoststate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// The links, addresses and routes of this network namespace, as the kernel
// dumps them over netlink: rtnetlink(7). What counts by itself (statistics,
// life times, whether a cable is in) is left out.

// links lists links, addresses and routes. They belong together: an address
// and a route name their link by its index.
func links() ([]Thing, error) {
	names := map[int]string{0: "-"}
	things, err := dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, func(m message) Thing { return link(m, names) })
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	addresses, err := dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, func(m message) Thing { return address(m, names) })
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	routes, err := dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, func(m message) Thing { return route(m, names) })
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	return append(append(things, addresses...), routes...), nil
}

// attrFlags are the bits of an attribute's type that do not tell the type.
const attrFlags = unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER

// message is an rtnetlink message: a fixed structure, then attributes.
type message struct {
	data []byte
	attr map[uint16][]byte
}

// dump asks for all objects of one type and makes a thing of each.
func dump(request, answer int, thing func(message) Thing) ([]Thing, error) {
	table, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, err
	}
	var things []Thing
	for _, m := range messages {
		if int(m.Header.Type) != answer {
			continue // NLMSG_DONE
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			return nil, err
		}
		attr := map[uint16][]byte{}
		for _, a := range attributes {
			attr[a.Attr.Type&^attrFlags] = a.Value
		}
		things = append(things, thing(message{m.Data, attr}))
	}
	return things, nil
}

// link makes a thing of an ifinfomsg (family, -, type u16, index s32, flags
// u32) and notes the link's name for the addresses and routes that follow.
func link(m message, names map[int]string) Thing {
	index := int(binary.NativeEndian.Uint32(m.data[4:]))
	name := text(m.attr[unix.IFLA_IFNAME])
	names[index] = name
	state := "down"
	if binary.NativeEndian.Uint32(m.data[8:])&unix.IFF_UP != 0 {
		state = "up"
	}
	value := fmt.Sprintf("index %d %s mtu %d address %s", index, state,
		number(m.attr[unix.IFLA_MTU]), net.HardwareAddr(m.attr[unix.IFLA_ADDRESS]))
	if master := number(m.attr[unix.IFLA_MASTER]); master != 0 {
		value += fmt.Sprintf(" master index %d", master)
	}
	return Thing{Kind: "link", Name: name, Value: value}
}

// address makes a thing of an ifaddrmsg: family, prefix length, flags, scope
// u8, index u32.
func address(m message, names map[int]string) Thing {
	ip := m.attr[unix.IFA_LOCAL] // on a point-to-point link IFA_ADDRESS is the peer
	if ip == nil {
		ip = m.attr[unix.IFA_ADDRESS]
	}
	index := int(binary.NativeEndian.Uint32(m.data[4:]))
	return Thing{Kind: "address", Name: fmt.Sprintf("%s/%d on %s", ipText(ip), m.data[1], names[index])}
}

// route makes a thing of an rtmsg: family, destination length, source length,
// tos, table, protocol, scope, type u8, flags u32.
func route(m message, names map[int]string) Thing {
	destination := "default"
	if m.data[1] != 0 {
		destination = fmt.Sprintf("%s/%d", ipText(m.attr[unix.RTA_DST]), m.data[1])
	} else if m.data[0] == unix.AF_INET6 {
		destination = "default (IPv6)"
	}
	table := uint32(m.data[4])
	if t := m.attr[unix.RTA_TABLE]; t != nil {
		table = number(t) // a table above 255 does not fit in the structure
	}
	return Thing{
		Kind: "route",
		Name: fmt.Sprintf("%s via %s dev %s table %d metric %d", destination, ipText(m.attr[unix.RTA_GATEWAY]),
			names[int(number(m.attr[unix.RTA_OIF]))], table, number(m.attr[unix.RTA_PRIORITY])),
		Value: fmt.Sprintf("protocol %d scope %d type %d", m.data[5], m.data[6], m.data[7]),
	}
}

// text is a zero-terminated string attribute.
func text(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }

// number is a 32-bit attribute, 0 when it is not there.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// ipText is an address attribute, "-" when it is not there.
func ipText(b []byte) string {
	if ip, ok := netip.AddrFromSlice(b); ok {
		return ip.String()
	}
	return "-"
}
