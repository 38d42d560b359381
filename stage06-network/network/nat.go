// Network address translation by nf_tables (man 8 nft). Our rules stand in a
// table of our own, so that nobody's rules are mixed with ours: it is made as
// a whole and removed as a whole, each time in one transaction. It has the
// bridge's name, so that a second network does not remove the first one's.
//
//	table ip skiff0 {
//	  chain postrouting {
//	    type nat hook postrouting priority srcnat; policy accept;
//	    ip saddr 10.83.0.0/24 oifname != "skiff0" masquerade
//	  }
//	  chain forward {
//	    type filter hook forward priority filter; policy accept;
//	    oifname "skiff0" ct state established,related accept
//	    oifname "skiff0" iifname != "skiff0" drop
//	  }
//	}
//
// postrouting: a packet from a container that leaves by another link than the
// bridge gets the address of the link that it leaves by; conntrack turns the
// replies round. forward: with ip_forward on, any neighbour of the host could
// send packets to a container by way of the host; only answers come in.

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
)

// ensureTable makes the table if it is not there. The first container also
// replaces one that is: it may say what a network of long ago needed. Packets
// see the old rules or the new ones, never a part or none.
//
// Others leave it alone as to delete rules takes the kernel about 10 ms: it
// waits until no packet can still be looking at them.
func ensureTable(bridge string, subnet netip.Prefix, first bool) error {
	c, err := nftables.New()
	if err != nil {
		return explainTable(bridge, "create", err)
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return explainTable(bridge, "look for", err)
	}
	exists := slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == bridge })
	if exists && !first {
		return nil
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: bridge}
	if exists {
		c.DelTable(table)
	}
	c.AddTable(table)
	addPostrouting(c, table, bridge, subnet)
	addForward(c, table, bridge)
	if err := c.Flush(); err != nil {
		return explainTable(bridge, "create", err)
	}
	return nil
}

// removeTable removes the table; that it is not there is fine.
func removeTable(bridge string) error {
	c, err := nftables.New()
	if err != nil {
		return explainTable(bridge, "delete", err)
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: bridge})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return explainTable(bridge, "delete", err)
	}
	return nil
}

func addPostrouting(c *nftables.Conn, table *nftables.Table, bridge string, subnet netip.Prefix) {
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "postrouting", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	match := append(sourceIn(subnet), link(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge)...)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Masq{})})
}

func addForward(c *nftables.Conn, table *nftables.Table, bridge string) {
	chain := c.AddChain(&nftables.Chain{
		Table: table, Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	answer := append(link(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), answers()...)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(answer, &expr.Verdict{Kind: expr.VerdictAccept})})
	intruder := append(link(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge), link(expr.MetaKeyIIFNAME, expr.CmpOpNeq, bridge)...)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(intruder, &expr.Verdict{Kind: expr.VerdictDrop})})
}

// sourceIn matches packets whose source address is in subnet: the 4 bytes at
// 12 of the header (RFC 791, 3.1), without the bits behind the prefix.
func sourceIn(subnet netip.Prefix) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(subnet.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: subnet.Addr().AsSlice()},
	}
}

// link compares the name of the link that a packet came by (iifname) or leaves
// by (oifname). By name, and not by index: the rule may outlive the link.
func link(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: linkData(name)},
	}
}

// linkData is a link's name as the kernel compares it: padded with NUL.
func linkData(name string) []byte {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return data
}

// answers matches packets of connections that a container has begun.
func answers() []expr.Any {
	states := binary.NativeEndian.AppendUint32(nil, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: states, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// explainTable reduces what went wrong on the socket to the kernel's reason.
func explainTable(name, step string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	wrapped := fmt.Errorf("%s nftables table \"ip %s\": %w", step, name, err)
	for _, missing := range []error{unix.ENOENT, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT} {
		if errors.Is(err, missing) {
			return hint.Add(wrapped, "the kernel lacks a part of nf_tables: modprobe -a nf_tables nft_chain_nat nft_masq nft_ct")
		}
	}
	return wrapped
}
