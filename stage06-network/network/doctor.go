// What another firewall forbids, our rules cannot allow: a packet has to pass
// every chain on its way, and "accept" ends only the chain that says it (man 8
// nft, VERDICT STATEMENTS). Docker, for one, sets the policy of forwarding to
// drop. So we look, and say it.

package network

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// ForwardBlocked returns what on this host keeps the containers of the network
// on DefaultBridge from the outside, and how to mend it; empty if nothing was
// found. It looks for filter chains on the forward hook that drop by policy,
// and takes a table whose rules name the bridge for mended. The tables of
// iptables-legacy it does not see.
func ForwardBlocked() (string, error) {
	c, err := nftables.New()
	if err != nil {
		return "", fmt.Errorf("list nftables chains: %w", err)
	}
	chains, err := c.ListChains()
	if err != nil {
		return "", fmt.Errorf("list nftables chains: %w", err)
	}
	for _, chain := range chains {
		if !dropsForwarded(chain) {
			continue
		}
		mended, err := tableNames(c, chain.Table, DefaultBridge)
		if err != nil {
			return "", err
		}
		if !mended {
			return describeBlock(chain), nil
		}
	}
	return "", nil
}

// dropsForwarded says whether IPv4 packets between links are dropped by policy.
func dropsForwarded(c *nftables.Chain) bool {
	family := c.Table.Family
	return (family == nftables.TableFamilyIPv4 || family == nftables.TableFamilyINet) &&
		c.Type == nftables.ChainTypeFilter &&
		c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward &&
		c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
}

// tableNames says whether a rule of the table compares with the link's name.
func tableNames(c *nftables.Conn, table *nftables.Table, link string) (bool, error) {
	chains, err := c.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != table.Name {
			continue
		}
		rules, err := c.GetRules(table, chain)
		if err != nil {
			return false, fmt.Errorf("list nftables chain %q of table %q: %w", chain.Name, table.Name, err)
		}
		for _, rule := range rules {
			if ruleNames(rule, link) {
				return true, nil
			}
		}
	}
	return false, nil
}

func ruleNames(rule *nftables.Rule, link string) bool {
	for _, e := range rule.Exprs {
		if cmp, ok := e.(*expr.Cmp); ok && bytes.Equal(bytes.TrimRight(cmp.Data, "\x00"), []byte(link)) {
			return true
		}
	}
	return false
}

// describeBlock names the chain, and the two commands that let our packets
// through it.
func describeBlock(c *nftables.Chain) string {
	family := "ip"
	if c.Table.Family == nftables.TableFamilyINet {
		family = "inet"
	}
	where := fmt.Sprintf("%s %s %s", family, c.Table.Name, c.Name)
	return fmt.Sprintf(`chain "%s" of nftables drops what the host forwards; let containers out with:
  nft insert rule %s oifname %s ct state established,related accept
  nft insert rule %s iifname %s accept`, where, where, DefaultBridge, where, DefaultBridge)
}
