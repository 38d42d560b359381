// Who gets which address and which link, and what stands in leases.json.

package network_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"skiff.example/stage06-network/network"
)

func TestAnAddressIsUsedAgainWhenItWasReleased(t *testing.T) {
	h := newHost(t)
	first, second := h.attach("first"), h.attach("second")
	if err := second.ping(first.Address.Addr()); err != nil { // now first is in second's ARP cache
		t.Fatal(err)
	}
	if err := h.network.Detach("first"); err != nil {
		t.Fatal(err)
	}
	third := h.attach("third")
	if third.Address != first.Address {
		t.Errorf("third has %s, want %s", third.Address, first.Address)
	}
	if err := second.ping(third.Address.Addr()); err != nil {
		t.Error(err) // sent to first's MAC?
	}
}

func TestTwentyAtOnceGetTwentyAddresses(t *testing.T) {
	h := newHost(t)
	var (
		wait      sync.WaitGroup
		endpoints [20]*network.Endpoint
		errs      [20]error
	)
	for i := range endpoints {
		ns, j := h.namespace(), h.journal()
		wait.Go(func() { endpoints[i], errs[i] = h.network.Attach(j, fmt.Sprint("c", i), ns.Path()) })
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	addresses, links := map[netip.Prefix]bool{}, map[string]bool{}
	for _, e := range endpoints {
		addresses[e.Address], links[e.HostLink] = true, true
	}
	if len(addresses) != 20 || len(links) != 20 {
		t.Errorf("%d addresses and %d links for 20 containers", len(addresses), len(links))
	}
	// As many leave at once, while others come.
	for i := range endpoints {
		wait.Go(func() { errs[i] = h.network.Detach(fmt.Sprint("c", i)) })
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.stateDir); !os.IsNotExist(err) {
		t.Errorf("the state folder is still there: %v", err)
	}
}

// The network goes and comes while somebody waits for its lock.
func TestTheLastLeavesWhileTheFirstArrives(t *testing.T) {
	h := newHost(t)
	var wait sync.WaitGroup
	var errs [4]error
	for i := range errs {
		ns, j := h.namespace(), h.journal()
		id := fmt.Sprint("c", i)
		wait.Go(func() {
			for range 5 {
				_, err := h.network.Attach(j, id, ns.Path())
				errs[i] = errors.Join(errs[i], err, h.network.Detach(id))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Error(err)
	}
}

func TestAFullSubnetSaysSo(t *testing.T) {
	h := newHost(t)
	h.network = h.open(network.Config{Subnet: netip.MustParsePrefix("10.83.0.0/29")})
	for i := range 5 { // 8, less the network's, the gateway's and the broadcast address
		h.attach(fmt.Sprint("c", i))
	}
	_, err := h.network.Attach(h.journal(), "one too many", h.namespace().Path())
	mustFail(t, err, `"one too many"`, "subnet 10.83.0.0/29 is full", "all 5 addresses", "larger subnet")
}

func TestAnAttachedContainerCannotBeAttachedAgain(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	_, err := h.network.Attach(h.journal(), "web", h.namespace().Path())
	mustFail(t, err, `container "web"`, "attached already", "10.83.0.2")
	if err := c.ping(c.Gateway); err != nil {
		t.Errorf("the refusal has hurt the container: %v", err)
	}
}

// The name of a link is made from the container's id; somebody may have it.
func TestALinksNameThatIsTakenIsLeftAlone(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	if err := h.network.Detach("web"); err != nil {
		t.Fatal(err)
	}
	h.sh("ip link add " + c.HostLink + " type veth peer other")
	defer h.sh("ip link delete " + c.HostLink)
	again := h.attach("web")
	if again.HostLink == c.HostLink {
		t.Errorf("%s was taken", c.HostLink)
	}
	if err := h.network.Detach("web"); err != nil {
		t.Fatal(err)
	}
	h.sh("ip link show " + c.HostLink)
}

func TestOnlyTheOwnerReadsTheState(t *testing.T) {
	h := newHost(t)
	h.attach("web")
	for path, want := range map[string]string{h.stateDir: "drwx------", filepath.Join(h.stateDir, "leases.json"): "-rw-------"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().String() != want {
			t.Errorf("%s is %s, want %s", path, info.Mode(), want)
		}
	}
}

func TestLeasesThatCannotBeReadAreNotGuessed(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	file := filepath.Join(h.stateDir, "leases.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	err = h.network.Detach("web")
	mustFail(t, err, file, "unexpected end of JSON", "remove this file")
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.ping(c.Gateway); err != nil {
		t.Error(err)
	}
}

// After a reboot nothing of what the file says is there any more.
func TestLeasesOfAnEarlierBootAreForgotten(t *testing.T) {
	h := newHost(t)
	if err := os.MkdirAll(h.stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := `{"boot": "earlier", "namespace": "net:[1]", "bridge": "skiff0", "subnet": "10.83.0.0/24",
		"leases": {"old": {"address": "10.83.0.2", "link": "uplink"}}}`
	if err := os.WriteFile(filepath.Join(h.stateDir, "leases.json"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := h.attach("web"); c.Address.Addr().String() != "10.83.0.2" {
		t.Errorf("web has %s: the old lease still counts", c.Address)
	}
	if err := network.Undo([]string{h.stateDir, "old"}); err != nil {
		t.Error(err)
	}
	h.sh("ip link show uplink") // which the old lease names
}

// The same folder used in another namespace: names there are another's.
func TestTheStateOfAnotherNamespaceIsNotTouched(t *testing.T) {
	h := newHost(t)
	c := h.attach("web")
	file := filepath.Join(h.stateDir, "leases.json")
	h.sh(`sed -i 's/net:\[[0-9]*\]/net:[1]/' ` + file)
	_, err := h.network.Attach(h.journal(), "other", h.namespace().Path())
	mustFail(t, err, "another network namespace, net:[1]", "a state folder of its own")
	if err := h.network.Detach("web"); err != nil {
		t.Fatal(err)
	}
	if err := c.ping(c.Gateway); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	h.sh("ip link delete skiff0; ip link delete " + c.HostLink + "; nft delete table ip skiff0; echo 0 >/proc/sys/net/ipv4/ip_forward")
}

func TestAnEntryThatIsNotOursIsRefused(t *testing.T) {
	err := network.Undo([]string{"one"})
	if err == nil || !strings.Contains(err.Error(), "want the state folder") {
		t.Errorf("got %v", err)
	}
}
