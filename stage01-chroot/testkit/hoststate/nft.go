package hoststate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The packet filter of this network namespace: tables, chains and rules of
// nf_tables, dumped over netlink (netlink(7); include/uapi/linux/netfilter/
// nf_tables.h). It needs CAP_NET_ADMIN and no `nft` program.

// nft lists tables, chains and rules. A rule is known by its handle, a number
// that its table gives out only once; what it does is not compared, because
// the counters in it run.
func nft() ([]Thing, error) {
	var things []Thing
	for _, object := range []struct {
		request uint16
		thing   func(family string, attr map[uint16][]byte) Thing
	}{
		{unix.NFT_MSG_GETTABLE, nftTable},
		{unix.NFT_MSG_GETCHAIN, nftChain},
		{unix.NFT_MSG_GETRULE, nftRule},
	} {
		messages, err := nftDump(object.request)
		if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) {
			return nil, nil // a kernel without netfilter, or without nf_tables
		}
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			things = append(things, object.thing(nftFamily(m.Data[0]), attributes(m.Data[4:])))
		}
	}
	return things, nil
}

func nftTable(family string, attr map[uint16][]byte) Thing {
	return Thing{Kind: "nft table", Name: family + " " + text(attr[unix.NFTA_TABLE_NAME])}
}

// nftChain includes the policy, which only a chain with a hook has: "forward"
// with policy drop is what cuts containers off on many hosts.
func nftChain(family string, attr map[uint16][]byte) Thing {
	value := ""
	if policy := attr[unix.NFTA_CHAIN_POLICY]; policy != nil {
		value = map[uint32]string{0: "policy drop", 1: "policy accept"}[binary.BigEndian.Uint32(policy)]
	}
	name := fmt.Sprintf("%s %s %s", family, text(attr[unix.NFTA_CHAIN_TABLE]), text(attr[unix.NFTA_CHAIN_NAME]))
	return Thing{Kind: "nft chain", Name: name, Value: value}
}

func nftRule(family string, attr map[uint16][]byte) Thing {
	return Thing{Kind: "nft rule", Name: fmt.Sprintf("%s %s %s handle %d", family,
		text(attr[unix.NFTA_RULE_TABLE]), text(attr[unix.NFTA_RULE_CHAIN]),
		binary.BigEndian.Uint64(attr[unix.NFTA_RULE_HANDLE]))}
}

// nftFamily names an address family as the nft command does.
func nftFamily(family byte) string {
	names := map[byte]string{
		unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp",
		unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6",
	}
	if name, known := names[family]; known {
		return name
	}
	return fmt.Sprintf("family %d", family)
}

// nftDump sends one dump request and collects the answers. A dump during which
// rules changed is marked by the kernel and asked for again.
func nftDump(request uint16) ([]syscall.NetlinkMessage, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	const attempts = 5
	for range attempts {
		messages, consistent, err := nftAsk(fd, request)
		if err != nil || consistent {
			return messages, err
		}
	}
	return nil, fmt.Errorf("rules changed during each of %d dumps", attempts)
}

// nftAsk sends struct nlmsghdr (length u32, type u16, flags u16, sequence u32,
// port u32) and struct nfgenmsg (family u8, version u8, resource u16), and
// reads messages until NLMSG_DONE.
func nftAsk(fd int, request uint16) (messages []syscall.NetlinkMessage, consistent bool, err error) {
	ask := make([]byte, unix.NLMSG_HDRLEN+4)
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], unix.NFNL_SUBSYS_NFTABLES<<8|request)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(fd, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, false, os.NewSyscallError("sendto", err)
	}
	consistent = true
	for buffer := make([]byte, 1<<16); ; { // the kernel fills at most 32 KiB at once
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return nil, false, os.NewSyscallError("recvfrom", err)
		}
		part, err := syscall.ParseNetlinkMessage(append([]byte(nil), buffer[:n]...))
		if err != nil {
			return nil, false, err
		}
		for _, m := range part {
			consistent = consistent && m.Header.Flags&unix.NLM_F_DUMP_INTR == 0
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return messages, consistent, nil
			case unix.NLMSG_ERROR:
				errno := -int32(binary.NativeEndian.Uint32(m.Data))
				return nil, false, os.NewSyscallError("nftables dump", unix.Errno(errno))
			}
			messages = append(messages, m)
		}
	}
}

// attributes cuts netlink attributes (length u16, type u16, value, padding to
// four bytes) apart.
func attributes(b []byte) map[uint16][]byte {
	attr := map[uint16][]byte{}
	for len(b) >= unix.NLA_HDRLEN {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.NLA_HDRLEN || length > len(b) {
			break
		}
		attr[binary.NativeEndian.Uint16(b[2:])&^attrFlags] = b[unix.NLA_HDRLEN:length]
		b = b[min((length+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
	}
	return attr
}
