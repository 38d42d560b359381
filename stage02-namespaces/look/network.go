package look

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The network that a process sees: /proc/PID/net shows that of its network
// namespace to whoever may read it, proc_pid_net(5).

// A Network is what is in a network namespace.
type Network struct {
	Interfaces []string     // their names
	Addresses  []netip.Addr // of all interfaces, IPv4 first
}

// ReadNetwork reads the network of a process.
func (p *Process) ReadNetwork() (Network, error) {
	var n Network
	devices, err := p.read("net/dev")
	if err != nil {
		return n, err
	}
	for line := range strings.Lines(devices) {
		if name, _, found := strings.Cut(line, ":"); found { // not one of the two headings
			n.Interfaces = append(n.Interfaces, strings.TrimSpace(name))
		}
	}
	routes, err := p.read("net/fib_trie")
	if err != nil {
		return n, err
	}
	n.Addresses = localAddresses(routes)
	v6, err := p.read("net/if_inet6")
	if err != nil {
		return n, nil // a kernel without IPv6 has no such file
	}
	addresses, err := inet6Addresses(v6)
	n.Addresses = append(n.Addresses, addresses...)
	return n, err
}

// localAddresses finds our own IPv4 addresses in the routing tree: those with a
// host route of type LOCAL below them.
//
//	|-- 192.0.2.2
//	   /32 host LOCAL
func localAddresses(trie string) []netip.Addr {
	var all []netip.Addr
	var last netip.Addr
	for line := range strings.Lines(trie) {
		line = strings.TrimSpace(line)
		if word, found := strings.CutPrefix(line, "|-- "); found {
			last, _ = netip.ParseAddr(word) // what is not an address is no leaf of ours
		}
		// The tree shows everything twice, in table "main" and in "local".
		if line == "/32 host LOCAL" && last.IsValid() && !slices.Contains(all, last) {
			all = append(all, last)
		}
	}
	return all
}

// inet6Addresses reads /proc/net/if_inet6: an address in hexadecimal, five more
// numbers, the interface.
func inet6Addresses(text string) ([]netip.Addr, error) {
	var all []netip.Addr
	for line := range strings.Lines(text) {
		word, _, _ := strings.Cut(line, " ")
		var bytes [16]byte
		if n, err := hex.Decode(bytes[:], []byte(word)); err != nil || n != len(bytes) {
			return all, fmt.Errorf("if_inet6 says %q", line)
		}
		all = append(all, netip.AddrFrom16(bytes))
	}
	return all, nil
}
