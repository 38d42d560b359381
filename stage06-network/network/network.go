// Package network connects containers to each other and to the world: a
// bridge on the host, a veth pair per container, an address from a lease, a
// route, and network address translation (NAT) on the way out.
//
//	container         container
//	eth0 10.83.0.2    eth0 10.83.0.3
//	  │                 │                 veth pairs: cables
//	  └──── skiff0 ─────┘                 a bridge: the switch; its own
//	        10.83.0.1                     address is the gateway
//	           │ ip_forward, masquerade   the host routes and translates
//	        uplink
//
// All that is left on the host, and that a crash could leave behind, is one
// entry in the container's journal (see Attach and Undo) and one file of
// leases (lease.go). With its last container the network goes: bridge, rules
// and leases are removed, and ip_forward is what it was.
//
// IPv4 only: IPv6 is switched off on every link made here (see quiet6).
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage06-network/netns"
)

// UndoKind is the word under which Attach records itself in a journal, and
// under which Undo belongs in journal.Undoers.
const UndoKind = "network"

// DefaultBridge is the bridge of a Config that names none.
const DefaultBridge = "skiff0"

// DefaultSubnet is the subnet of a Config that names none. It is private
// (RFC 1918) and keeps clear of what others take by default: docker
// 172.17–31 and 192.168, podman 10.88 and 10.89, k3s 10.42 and 10.43,
// flannel 10.244, libvirt 192.168.122, lxc 10.0.3.
const DefaultSubnet = "10.83.0.0/24"

// Config says what a network looks like. The zero Config is a good one.
type Config struct {
	// Bridge is the name of the bridge and of the nftables table: 1 to 15
	// bytes without space, '/' and ':'. Empty means DefaultBridge.
	Bridge string
	// Subnet is where addresses come from: IPv4, at most a /30. The first
	// address is the gateway's, the last one is the broadcast address. It may
	// overlap no route of the host. The zero Prefix means DefaultSubnet.
	Subnet netip.Prefix
}

// Network is a bridge, with the subnet behind it, and their state on disk.
// Several processes and goroutines may use the same one at the same time.
type Network struct {
	dir    string
	bridge string
	subnet netip.Prefix
}

// Endpoint is a container's connection.
type Endpoint struct {
	Interface string           // the link in the container: eth0
	Address   netip.Prefix     // its address, with the subnet's length
	Gateway   netip.Addr       // the bridge's address: the default route
	HostLink  string           // the other end of the veth pair, on the host
	MAC       net.HardwareAddr // made from the address, see hardwareAddr
	MTU       int              // bytes
}

// eth0 is what the link is called in the container, as everywhere else.
const eth0 = "eth0"

// Open returns the network that keeps its state in stateDir, a folder that is
// this network's alone: it is made for the first container and removed with
// the last one. Best it is on a tmpfs (/run). Open changes nothing; it says
// what is wrong with c.
func Open(stateDir string, c Config) (*Network, error) {
	dir, err := filepath.Abs(stateDir) // the journal is read from elsewhere
	if err != nil {
		return nil, fmt.Errorf("open network state %q: %w", stateDir, err)
	}
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if len(c.Bridge) >= unix.IFNAMSIZ || strings.ContainsAny(c.Bridge, "/: \t\n") || c.Bridge == "." || c.Bridge == ".." {
		return nil, hint.Add(fmt.Errorf("bridge %q: not a name for a link", c.Bridge),
			"a link's name has 1 to 15 bytes, without space, '/' and ':'")
	}
	if !c.Subnet.IsValid() {
		c.Subnet = netip.MustParsePrefix(DefaultSubnet)
	}
	if !c.Subnet.Addr().Is4() || c.Subnet.Bits() > 30 || c.Subnet.Bits() < 8 || c.Subnet != c.Subnet.Masked() {
		return nil, hint.Add(fmt.Errorf("subnet %q: not an IPv4 subnet for containers", c.Subnet),
			"write it as in "+DefaultSubnet+": from /8 to /30, no bit set behind the prefix")
	}
	return &Network{dir: dir, bridge: c.Bridge, subnet: c.Subnet}, nil
}

// Attach connects the container id, whose network namespace is at path (such
// as /proc/PID/ns/net), and returns how. It records itself in the journal
// before it changes anything. When it fails it has undone what it did.
//
// Errors: the container is attached already; the subnet is full, or overlaps a
// route of the host; a link called like the bridge is not ours; path is the
// host's own namespace; and the kernel's refusals.
func (n *Network) Attach(j *journal.Journal, id, path string) (*Endpoint, error) {
	e, err := n.attach(j, id, path)
	if err != nil {
		return nil, fmt.Errorf("attach container %q to network %q: %w", id, n.bridge, explain(err))
	}
	return e, nil
}

func (n *Network) attach(j *journal.Journal, id, path string) (e *Endpoint, err error) {
	if err := refuseUnprivileged(); err != nil {
		return nil, err
	}
	ns, err := openForeign(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	s, _, err := n.known()
	if err != nil {
		return nil, err
	}
	if err := s.refuse(id); err != nil { // else undoing j would detach who has this id
		return nil, err
	}
	if err := j.Record(UndoKind, n.dir, id); err != nil {
		return nil, err
	}
	lock, err := lockState(n.dir, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	if s, err = n.current(); err != nil { // read again: now nobody else changes it
		return nil, err
	}
	l, err := s.add(id)
	if err != nil {
		return nil, err
	}
	if e, err = n.connect(s, l, id, ns); err != nil {
		return nil, withCleanUp(err, release(n.dir, id))
	}
	return e, nil
}

// connect makes all that the lease l promises. Each part may be there already:
// what someone removed meanwhile (a firewall reload flushes all tables) comes
// back with the next container.
func (n *Network) connect(s *state, l lease, id string, ns *netns.Namespace) (*Endpoint, error) {
	if err := s.saveBeforeForwarding(n.dir); err != nil {
		return nil, err
	}
	if err := enableForwarding(); err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer h.Close()
	e := &Endpoint{
		Interface: eth0,
		Address:   netip.PrefixFrom(l.Address, n.subnet.Bits()),
		Gateway:   gateway(n.subnet),
		HostLink:  l.Link,
		MAC:       hardwareAddr(l.Address),
	}
	if e.MTU, err = uplinkMTU(h); err != nil {
		return nil, err
	}
	bridge, err := ensureBridge(h, n.bridge, netip.PrefixFrom(e.Gateway, n.subnet.Bits()))
	if err != nil {
		return nil, err
	}
	if err := ensureTable(n.bridge, n.subnet, len(s.Leases) == 1); err != nil {
		return nil, err
	}
	return e, e.plug(h, bridge, ns, id)
}

// Detach removes the connection of the container id and releases its address;
// with the last container the network goes. To detach what is not attached is
// no error.
func (n *Network) Detach(id string) error { return detach(n.dir, id) }

// Undo is Detach for the journal: its arguments are those that Attach
// recorded, the state folder and the container's id, and it needs no Network.
// Undoing twice, and undoing what was never done, is fine.
func Undo(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("undo network %q: want the state folder and the container's id", args)
	}
	return detach(args[0], args[1])
}

func detach(dir, id string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("detach container %q from its network: %w", id, explain(err))
		}
	}()
	lock, err := lockState(dir, false)
	if lock == nil || err != nil {
		return err // without the folder there never was a network
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	return release(dir, id)
}

// release undoes, under the lock, what attach did, in reverse order. The lease
// is struck out last: until then whoever comes next finds what is left to do.
func release(dir, id string) error {
	s, err := load(dir)
	if err != nil {
		return err
	}
	if s == nil {
		return removeState(dir)
	}
	here, err := s.isHere()
	if err != nil {
		return err
	}
	l, leased := s.Leases[id]
	if leased && here {
		if err := removeLink(l.Link, "veth"); err != nil {
			return err
		}
	}
	delete(s.Leases, id)
	if len(s.Leases) > 0 {
		return s.save(dir)
	}
	if here {
		if err := s.dismantle(); err != nil {
			return err
		}
	}
	return removeState(dir)
}

// dismantle removes what the containers shared.
func (s *state) dismantle() error {
	if err := removeTable(s.Bridge); err != nil {
		return err
	}
	if err := removeLink(s.Bridge, "bridge"); err != nil {
		return err
	}
	return restoreForwarding(s.IPForward)
}

// refuseUnprivileged is an error without CAP_NET_ADMIN (man 7 capabilities). It
// is asked beforehand, since without it one may begin (root's uid suffices for
// ip_forward) but neither go on nor undo.
func refuseUnprivileged() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // version 3 has two times 32 capabilities
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	if sets[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return fmt.Errorf("without CAP_NET_ADMIN: %w", unix.EPERM)
	}
	return nil
}

// openForeign opens the network namespace at path, and refuses our own: there
// eth0 and the default route are the host's.
func openForeign(path string) (*netns.Namespace, error) {
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	id, err := ns.ID()
	if err == nil {
		var ours string
		if ours, err = netns.Current(); err == nil && id == ours {
			err = fmt.Errorf("network namespace %q is the host's own", path)
		}
	}
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// withCleanUp adds what went wrong when err's traces were removed.
func withCleanUp(err, undo error) error {
	if undo == nil {
		return err
	}
	return fmt.Errorf("%w (and what it made is still there: %w)", err, undo)
}

// explain adds a hint where the kernel's word has a usual cause.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return hint.Add(err, "networks need CAP_NET_ADMIN, and CAP_SYS_ADMIN to enter the container's namespace: run it as root")
	case errors.Is(err, unix.EROFS):
		return hint.Add(err, "/proc/sys is read-only here; inside a container it takes a privileged one")
	}
	return err
}
