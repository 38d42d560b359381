// What a container that is attached can reach, and who can reach it: shown
// with packets, and read back with ip(8), ping(8) and nft(8).

package network_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage06-network/network"
	"skiff.example/stage06-network/world"
)

// mirror asks the outside under which address it sees the container.
func (c *container) mirror(server netip.AddrPort) (string, error) {
	return world.Run(c.ns, "timeout", "2", "bash", "-c",
		fmt.Sprintf("exec cat </dev/tcp/%s/%d", server.Addr(), server.Port()))
}

// startMirror starts a server on the outside.
func (h *host) startMirror() netip.AddrPort {
	h.Helper()
	server, closer, err := h.world.Mirror()
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { closer.Close() })
	return server
}

func TestAContainerReachesItsGateway(t *testing.T) {
	c := newHost(t).attach("web")
	if err := c.ping(c.Gateway); err != nil {
		t.Error(err)
	}
}

func TestTheOutsideSeesTheHostsAddress(t *testing.T) {
	h := newHost(t)
	server := h.startMirror()
	seen, err := h.attach("web").mirror(server)
	if err != nil {
		t.Fatal(err)
	}
	if seen != h.world.HostAddress.String() {
		t.Errorf("the outside sees the container as %s, want the host's address %s", seen, h.world.HostAddress)
	}
}

func TestContainersReachEachOther(t *testing.T) {
	h := newHost(t)
	a, b := h.attach("a"), h.attach("b")
	if a.Address == b.Address {
		t.Fatalf("both have the address %s", a.Address)
	}
	if err := a.ping(b.Address.Addr()); err != nil {
		t.Error(err)
	}
	if err := b.ping(a.Address.Addr()); err != nil {
		t.Error(err)
	}
}

// A program in a container that starts at once must not lose its first packet
// to a bridge that has not noticed yet that the link is up.
func TestTheFirstPacketArrives(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		a, b := h.attach(fmt.Sprint("a", i)), h.attach(fmt.Sprint("b", i))
		if _, err := world.Run(a.ns, "ping", "-c", "1", "-W", "0.5", b.Address.Addr().String()); err != nil {
			t.Fatalf("pair %d: %v", i, err)
		}
		for _, c := range []*container{a, b} {
			if err := h.network.Detach(c.id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A neighbour of the host that routes the containers' subnet to the host would
// reach every port of every container, once ip_forward is on.
func TestTheOutsideReachesNoContainer(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	if _, err := world.Run(h.world.Outside, "ip", "route", "add", network.DefaultSubnet, "via", h.world.HostAddress.String()); err != nil {
		t.Fatal(err)
	}
	ping := []string{"-c", "1", "-W", "1", c.Address.Addr().String()}
	if out, err := world.Run(h.world.Outside, "ping", ping...); err == nil {
		t.Errorf("the outside has reached the container: %s", out)
	}
	h.sh("nft delete table ip skiff0") // it is our table that stops it
	if _, err := world.Run(h.world.Outside, "ping", ping...); err != nil {
		t.Errorf("not even without the table: %v", err)
	}
}

func TestWhatTheContainerHas(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	show := strings.Join([]string{
		"$ ip -brief link", c.run("ip", "-brief", "link"),
		"$ ip -brief address", c.run("ip", "-brief", "address"),
		"$ ip route", c.run("ip", "route"),
	}, "\n")
	testkit.Golden(t, h.replace(show, `@\w+`, `@PEER`, `PEER +UP`, `PEER UP`)+"\n", "container.golden")
}

func TestWhatTheHostHas(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	show := strings.Join([]string{
		"$ ip -brief link", h.sh("ip -brief link show master skiff0"),
		"$ ip -brief address show skiff0", h.sh("ip -brief address show skiff0"),
		"$ nft list ruleset", h.sh("nft list ruleset"),
		"$ cat leases.json", h.sh("cat " + h.stateDir + "/leases.json"),
	}, "\n")
	// The kernel chooses the far end's index, its MAC and the boot's id.
	show = h.replace(show, `"boot": ".*"`, `"boot": "BOOT"`, `net:\[.*\]`, `net:[INODE]`, `@\w+`, `@PEER`, `UP +[0-9a-f:]{17}`, "UP MAC")
	testkit.Golden(t, show+"\n", "host.golden")
	if alias := h.sh("ip link show " + c.HostLink); !strings.Contains(alias, "alias container web") {
		t.Errorf("%s does not say whose it is: %s", c.HostLink, alias)
	}
}

// CVE-2020-10749: a container must not become a router for IPv6 by saying so.
func TestNoLinkListensToRouterAdvertisements(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	for _, link := range []string{"skiff0", c.HostLink} {
		if got := h.sh("cd /proc/sys/net/ipv6/conf/" + link + " && cat accept_ra disable_ipv6"); got != "0\n1" {
			t.Errorf("%s on the host: accept_ra, disable_ipv6 = %q", link, got)
		}
	}
	if got := c.run("cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"); got != "0\n1" {
		t.Errorf("eth0 in the container: accept_ra, disable_ipv6 = %q", got)
	}
	c.run("ping", "-c", "1", "-W", "1", "::1") // inside the container IPv6 is there
}

// The cables of clouds and VPNs carry less than 1500 bytes at a time.
func TestTheMTUIsThatOfTheUplink(t *testing.T) {
	h := newHost(t)
	h.sh("ip link set uplink mtu 1400")
	c := h.attach("web")
	if link := c.run("ip", "link", "show", "eth0"); c.MTU != 1400 || !strings.Contains(link, "mtu 1400") {
		t.Errorf("Endpoint.MTU is %d; %s", c.MTU, link)
	}
}

// A firewall that is loaded again begins with "flush ruleset".
func TestTheNextContainerBringsTheRulesBack(t *testing.T) {
	h := newHost(t)
	server := h.startMirror()
	first := h.attach("first")
	h.sh("nft flush ruleset")
	if seen, err := first.mirror(server); err == nil {
		t.Errorf("without rules the outside still answers, to %s", seen)
	}
	h.attach("second")
	if _, err := first.mirror(server); err != nil {
		t.Error(err)
	}
}

// A table that a network of long ago has left must not stay half right.
func TestTheFirstContainerReplacesTheRules(t *testing.T) {
	h := newHost(t)
	h.sh("nft 'add table ip skiff0; add chain ip skiff0 old { type filter hook forward priority 0; policy drop; }'")
	server := h.startMirror()
	if _, err := h.attach("web").mirror(server); err != nil {
		t.Error(err)
	}
}

// The namespace of a process, as a runtime has it; the process is killed.
func TestAContainerThatWasKilledIsUndoneByItsJournal(t *testing.T) {
	h := newHost(t)
	process := exec.Command("sleep", "infinity")
	process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/ns/net", process.Process.Pid)
	j := h.journal()
	e, err := h.network.Attach(j, "web", path)
	if err != nil {
		t.Fatal(err)
	}
	h.sh("nsenter --net=" + path + " ping -c 1 -W 1 127.0.0.1") // lo is born down
	h.sh("ip link show " + e.HostLink)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // "signal: killed"
	if err := j.Undo(undoers()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.stateDir); !os.IsNotExist(err) {
		t.Errorf("the leases are still there: %v", err)
	}
}
