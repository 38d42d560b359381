// What goes wrong on other people's machines, and what is said about it.

package network_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage06-network/network"
)

// refusal is the error of an attempt to attach a container.
func (h *host) refusal(id string) error {
	h.Helper()
	e, err := h.network.Attach(h.journal(), id, h.namespace().Path())
	if err == nil {
		h.Fatalf("it was attached: %+v", e)
	}
	return err
}

func TestASubnetThatOverlapsARouteIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ route, want string }{
		"a route to a larger net": {"10.0.0.0/8 via 198.51.100.2", "10.0.0.0/8 via 198.51.100.2 dev uplink"},
		"a route to a part":       {"10.83.0.128/25 via 198.51.100.2", "10.83.0.128/25 via 198.51.100.2"},
		"a route of another table": {
			"10.83.0.0/24 via 198.51.100.2 table 51820", "10.83.0.0/24 via 198.51.100.2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.sh("ip route add " + c.route)
			defer h.sh("ip route delete " + c.route)
			err := h.refusal("web")
			mustFail(t, err, "subnet 10.83.0.0/24 overlaps the host's route "+c.want, "another subnet")
		})
	}
}

func TestADefaultRouteIsNoOverlap(t *testing.T) {
	h := newHost(t) // it has one, and the halves are a VPN's
	h.sh("ip route add 0.0.0.0/1 via 198.51.100.2; ip route add 128.0.0.0/1 via 198.51.100.2")
	h.attach("web")
	h.sh("ip route delete 0.0.0.0/1; ip route delete 128.0.0.0/1")
}

func TestALinkWithTheBridgesNameIsLeftAlone(t *testing.T) {
	h := newHost(t)
	h.sh("ip link add skiff0 type bridge")
	defer h.sh("ip link delete skiff0")
	err := h.refusal("web")
	mustFail(t, err, `a link "skiff0" exists already`, "ip link delete skiff0")
}

func TestTheHostsOwnNamespaceIsRefused(t *testing.T) {
	h := newHost(t)
	_, err := h.network.Attach(h.journal(), "web", "/proc/self/ns/net")
	mustFail(t, err, `"/proc/self/ns/net" is the host's own`)
}

func TestAPathThatIsNoNetworkNamespaceIsRefused(t *testing.T) {
	h := newHost(t)
	for path, want := range map[string]string{
		"/proc/self/ns/uts": "not a network namespace",
		"/dev/null":         "not a network namespace",
		"/nowhere":          "no such file or directory",
	} {
		_, err := h.network.Attach(h.journal(), "web", path)
		mustFail(t, err, `"`+path+`"`, want)
	}
}

// Root without the capability: in a container, or under systemd's limits.
func TestWithoutTheCapabilityNothingIsBegun(t *testing.T) {
	h := newHost(t)
	testkit.Need(t, "setpriv")
	journal := filepath.Join(t.TempDir(), "journal")
	out, err := exec.Command("setpriv", "--bounding-set", "-net_admin", "--",
		os.Args[0], "attach", h.stateDir, journal, h.namespace().Path()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "without CAP_NET_ADMIN: operation not permitted") || !strings.Contains(string(out), "run it as root") {
		t.Errorf("%v: %s", err, out)
	}
	if info, err := os.Stat(journal); err != nil || info.Size() > 0 {
		t.Errorf("something was begun: %v %v", info, err)
	}
}

// It fails half way, when bridge, rules and lease are there.
func TestAFailedAttachLeavesNothing(t *testing.T) {
	h := newHost(t)
	ns := h.namespace()
	c := &container{host: h, id: "web", ns: ns}
	c.run("ip", "link", "add", "eth0", "type", "bridge")
	_, err := h.network.Attach(h.journal(), "web", ns.Path())
	mustFail(t, err, `attach container "web" to network "skiff0"`, "create veth pair", "file exists", "attached to another network")
	if _, err := os.Stat(h.stateDir); !os.IsNotExist(err) {
		t.Errorf("the leases are still there: %v", err)
	}
	if links := h.sh("ip -brief link"); strings.Contains(links, "skiff0") {
		t.Errorf("the bridge is still there: %s", links)
	}
}

func TestTheNetworkInUseCannotBeChanged(t *testing.T) {
	h := newHost(t)
	h.attach("web")
	h.network = h.open(network.Config{Subnet: netip.MustParsePrefix("10.84.0.0/24")})
	err := h.refusal("other")
	mustFail(t, err, `is bridge "skiff0" with subnet 10.83.0.0/24`, "10.84.0.0/24", "last container")
}

func TestAWrongConfigIsRefused(t *testing.T) {
	for _, c := range []network.Config{
		{Bridge: "sixteen-bytes-ab"},
		{Bridge: "a/b"},
		{Bridge: ".."},
		{Subnet: netip.MustParsePrefix("10.83.0.1/24")},
		{Subnet: netip.MustParsePrefix("10.83.0.0/31")},
		{Subnet: netip.MustParsePrefix("fd00::/64")},
	} {
		_, err := network.Open(t.TempDir(), c)
		if err == nil || hint.Of(err) == "" {
			t.Errorf("%+v: error %v, hint %q", c, err, hint.Of(err))
		}
	}
}

// What docker does to a host, and the way out that we print.
func TestAFirewallThatDropsForwardedPacketsIsFound(t *testing.T) {
	h := newHost(t)
	server := h.startMirror()
	if found, err := network.ForwardBlocked(); found != "" || err != nil {
		t.Fatalf("nothing blocks, but: %s %v", found, err)
	}
	h.sh("nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'")
	defer h.sh("nft delete table ip filter")
	c := h.attach("web")
	if _, err := c.mirror(server); err == nil {
		t.Fatal("the firewall of this test does not work")
	}
	found, err := network.ForwardBlocked()
	if err != nil {
		t.Fatal(err)
	}
	what, commands, ok := strings.Cut(found, ":\n")
	if !ok || !strings.Contains(what, `"ip filter FORWARD"`) {
		t.Fatalf("found %q", found)
	}
	h.sh(commands)
	if _, err := c.mirror(server); err != nil {
		t.Errorf("the printed commands do not help: %v", err)
	}
	if found, err := network.ForwardBlocked(); found != "" || err != nil {
		t.Errorf("mended, but still: %s %v", found, err)
	}
}
