package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
)

// The network as this process has it: netdevice(7), and the IPv4 routing table
// in /proc/net/route (proc_net(5)).

func network(out io.Writer) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, link := range links {
		fmt.Fprintln(out, "link", link.Name, "mtu", link.MTU, link.Flags)
		addresses, err := link.Addrs()
		if err != nil {
			return err
		}
		for _, address := range addresses {
			fmt.Fprintln(out, "address", link.Name, address)
		}
	}
	return routes(out)
}

// routes prints /proc/net/route. After a line of titles its fields are link,
// destination, gateway, flags, three counters, netmask.
func routes(out io.Writer) error {
	text, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) < 8 {
			continue
		}
		destination, err := ipv4(fields[1])
		if err != nil {
			return err
		}
		gateway, err := ipv4(fields[2])
		if err != nil {
			return err
		}
		mask, err := ipv4(fields[7])
		if err != nil {
			return err
		}
		ones, _ := net.IPMask(mask.AsSlice()).Size()
		fmt.Fprintf(out, "route %s/%d via %s dev %s\n", destination, ones, gateway, fields[0])
	}
	return nil
}

// ipv4 reads an address as the kernel prints it there: the 32-bit number that
// its four bytes are in memory, in hexadecimal.
func ipv4(word string) (netip.Addr, error) {
	bytes, err := hex.DecodeString(word)
	if err != nil || len(bytes) != 4 {
		return netip.Addr{}, fmt.Errorf("not an address: %q", word)
	}
	var address [4]byte
	binary.NativeEndian.PutUint32(address[:], binary.BigEndian.Uint32(bytes))
	return netip.AddrFrom4(address), nil
}
