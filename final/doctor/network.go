package doctor

// This file checks what a container's network is made of: veth pairs (veth(4)),
// bridges, nftables (nft(8)), and what decides whether the host passes packets
// on (the kernel's Documentation/networking/ip-sysctl.rst).

import (
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

func networkChecks() []Check {
	return []Check{
		{"veth", 6, lookAtTrial("veth", "modprobe veth")},
		{"bridge", 6, lookAtTrial("bridge", "modprobe bridge")},
		{"nftables", 6, lookAtTrial("nftables", "modprobe -a nf_tables nft_chain_nat nft_masq")},
		{"ip_forward", 6, lookAtForwarding},
		{"forward policy", 6, lookAtForwardPolicy},
	}
}

// lookAtTrial returns a check that goes by a trial alone: modules are loaded
// by asking, so no file says beforehand what the kernel can do.
func lookAtTrial(trial, remedy string) func(Host) Result {
	return func(h Host) Result {
		switch outcome := h.Trials[trial]; {
		case outcome == succeeded:
			return ok("a child made one in a network of its own")
		case h.root():
			return missing(outcome, remedyFor(outcome, remedy))
		default:
			return skip("an ordinary user cannot make one: " + outcome)
		}
	}
}

func lookAtForwarding(h Host) Result {
	switch h.read("proc/sys/net/ipv4/ip_forward") {
	case "":
		return missing("no net.ipv4.ip_forward", "take a kernel with CONFIG_INET")
	case "0":
		return ok("off; skiff turns it on while containers run")
	}
	return ok("on")
}

// lookAtForwardPolicy reports a firewall that drops what containers send to
// the world. They still reach each other and the host. What the old iptables
// has set up is not seen through nftables: only that it has.
func lookAtForwardPolicy(h Host) Result {
	if !h.root() {
		return skip("an ordinary user may not see it")
	}
	if h.Forward != "" {
		found, remedy, _ := strings.Cut(h.Forward, "; ")
		return warn(found, remedy)
	}
	if strings.Contains(h.read("proc/net/ip_tables_names"), "filter") {
		return warn("iptables-legacy has rules here, which skiff does not read", "see to it that this prints ACCEPT: iptables-legacy -S FORWARD")
	}
	return ok("no nftables chain drops what the host forwards")
}

func tryVeth() error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "skiff-a"}, PeerName: "skiff-b"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("create a veth pair: %w", err)
	}
	return nil
}

func tryBridge() error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "skiff-bridge"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("create a bridge: %w", err)
	}
	return nil
}

// tryNftables makes the rule that gives containers a way out, in a table of
// its own.
func tryNftables() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := c.AddTable(&nftables.Table{Name: "skiff-doctor", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Masq{}}})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("create a masquerading rule: %w", err)
	}
	return nil
}
