// Leases are who has which address. They stand in one JSON file beside the
// little that is needed to take the network down again: people can read it,
// and nothing in it has to be asked of a process. It is replaced as a whole
// (rename, man 2 rename), so a reader sees the old or the new one, and it is
// changed under a lock on its folder (man 2 flock), which the kernel releases
// when the process that holds it dies.

package network

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage06-network/netns"
)

const (
	stateFile = "leases.json"
	tempFile  = ".leases.json" // fixed, so that a killed process leaves one at most
)

// state is what the file says.
type state struct {
	Boot      string           `json:"boot"`      // which run of the kernel: /proc/sys/kernel/random/boot_id
	Namespace string           `json:"namespace"` // the network namespace that plays the host: net:[inode]
	Bridge    string           `json:"bridge"`
	Subnet    netip.Prefix     `json:"subnet"`
	IPForward string           `json:"ip_forward,omitempty"` // what it was before we changed it
	Leases    map[string]lease `json:"leases"`               // by container
}

// lease is one container's part.
type lease struct {
	Address netip.Addr `json:"address"`
	Link    string     `json:"link"` // on the host
}

// current returns, under the lock, the state to add a lease to: that on disk,
// or a new one after a look whether the network can be made here.
func (n *Network) current() (*state, error) {
	s, onDisk, err := n.known()
	if err != nil || onDisk {
		return s, err
	}
	if err := refuseForeignLink(n.bridge); err != nil {
		return nil, err
	}
	return s, refuseOverlap(n.subnet)
}

// known returns the state on disk, if it is this network's, or a new one.
func (n *Network) known() (s *state, onDisk bool, err error) {
	fresh := &state{Bridge: n.bridge, Subnet: n.subnet, Leases: map[string]lease{}}
	if err := fresh.locate(); err != nil {
		return nil, false, err
	}
	if s, err = load(n.dir); err != nil {
		return nil, false, err
	}
	if s == nil || s.Boot != fresh.Boot { // containers do not outlive the kernel
		return fresh, false, nil
	}
	if s.Namespace != fresh.Namespace {
		return nil, true, hint.Add(fmt.Errorf("the network state in %q belongs to another network namespace, %s; this is %s", n.dir, s.Namespace, fresh.Namespace),
			"give each namespace that plays the host a state folder of its own; what a killed run left is removed by undoing its journals")
	}
	if s.Bridge != n.bridge || s.Subnet != n.subnet {
		return nil, true, hint.Add(fmt.Errorf("the network in %q is bridge %q with subnet %s, not %q with %s", n.dir, s.Bridge, s.Subnet, n.bridge, n.subnet),
			"it can be changed when its last container is gone")
	}
	return s, true, nil
}

// locate fills in which kernel and which network namespace this is.
func (s *state) locate() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // man 5 proc
	if err != nil {
		return fmt.Errorf("tell this boot from others: %w", err)
	}
	s.Boot = strings.TrimSpace(string(boot))
	s.Namespace, err = netns.Current()
	return err
}

// isHere says whether the links and rules of s are in the namespace that we
// are in. Elsewhere those names belong to someone else.
func (s *state) isHere() (bool, error) {
	var here state
	err := here.locate()
	return here.Boot == s.Boot && here.Namespace == s.Namespace, err
}

// add leases the lowest free address, and a link's name, to the container id.
func (s *state) add(id string) (lease, error) {
	if err := s.refuse(id); err != nil {
		return lease{}, err
	}
	address, err := s.freeAddress()
	if err != nil {
		return lease{}, err
	}
	link, err := s.freeLink(id)
	if err != nil {
		return lease{}, err
	}
	s.Leases[id] = lease{address, link}
	return s.Leases[id], nil
}

// refuse is an error when the container id cannot get a lease.
func (s *state) refuse(id string) error {
	if id == "" {
		return errors.New("a container without an id")
	}
	if l, ok := s.Leases[id]; ok {
		return hint.Add(fmt.Errorf("it is attached already, as %s", l.Address), "if its process died, undo its journal")
	}
	return nil
}

// gateway is the first address of subnet after that of the network itself.
func gateway(subnet netip.Prefix) netip.Addr { return subnet.Addr().Next() }

func (s *state) freeAddress() (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	for l := range maps.Values(s.Leases) {
		taken[l.Address] = true
	}
	a := gateway(s.Subnet).Next()
	for s.Subnet.Contains(a.Next()) { // the last address is for broadcast
		if !taken[a] {
			return a, nil
		}
		a = a.Next()
	}
	return a, hint.Add(fmt.Errorf("subnet %s is full: all %d addresses are leased", s.Subnet, len(taken)),
		"remove a container, or choose a larger subnet")
}

// freeLink returns the name for the host's end of id's pair: always the same
// one for the same id, unless somebody has it.
func (s *state) freeLink(id string) (string, error) {
	for attempt := 0; ; attempt++ {
		name := linkName(id, attempt)
		leased := slices.ContainsFunc(slices.Collect(maps.Values(s.Leases)), func(l lease) bool { return l.Link == name })
		if leased {
			continue
		}
		_, err := netlink.LinkByName(name)
		if _, free := errors.AsType[netlink.LinkNotFoundError](err); free {
			return name, nil
		}
		if err != nil {
			return "", fmt.Errorf("look for link %q: %w", name, err)
		}
	}
}

// linkName fills the 15 bytes that the kernel allows (IFNAMSIZ with its NUL):
// an id may be longer, or have characters that a link's name may not have.
func linkName(id string, attempt int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", id, attempt))
	return fmt.Sprintf("veth%x", sum)[:unix.IFNAMSIZ-1]
}

// load returns the state in dir, or nil where there is none.
func load(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	s := new(state)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, hint.Add(fmt.Errorf("read leases %q: %w", path, err),
			"once no container runs, remove this file, the bridge (ip link delete) and the table (nft delete table)")
	}
	if s.Leases == nil {
		s.Leases = map[string]lease{}
	}
	return s, nil
}

// save replaces the file.
func (s *state) save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write leases: %w", err)
	}
	temp := filepath.Join(dir, tempFile)
	if err := writeSynced(temp, append(data, '\n')); err != nil {
		return fmt.Errorf("write leases: %w", err)
	}
	if err := os.Rename(temp, filepath.Join(dir, stateFile)); err != nil {
		return fmt.Errorf("write leases: %w", err)
	}
	return nil
}

// writeSynced writes a file through to the disk: renamed before its contents
// are there, it could be empty after a power failure.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// removeState removes the file, and what a killed save left of it.
func removeState(dir string) error {
	for _, name := range []string{tempFile, stateFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove leases: %w", err)
		}
	}
	return nil
}

// stateLock is the right to change the state, and the network with it.
type stateLock struct {
	folder *os.File
}

// lockState waits for the lock on dir. The folder itself is locked, so there
// is no lock file to leave behind. Where there is no folder it makes one, with
// mode 0700 (CVE-2021-41103), if create is set, and returns nil if not.
func lockState(dir string, create bool) (*stateLock, error) {
	for {
		if create {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, fmt.Errorf("make network state: %w", err)
			}
		}
		folder, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			if create {
				continue // removed since
			}
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("open network state: %w", err)
		}
		l := &stateLock{folder}
		if err := l.lock(); err != nil {
			return nil, errors.Join(fmt.Errorf("lock network state %q: %w", dir, err), folder.Close())
		}
		if l.isAt(dir) {
			return l, nil
		}
		if err := folder.Close(); err != nil { // it was removed while we waited
			return nil, err
		}
	}
}

// lock waits; a signal to the process is no reason to stop waiting.
func (l *stateLock) lock() error {
	for {
		err := unix.Flock(int(l.folder.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// isAt says whether the folder that is locked is the one that dir names now.
func (l *stateLock) isAt(dir string) bool {
	locked, err := l.folder.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(dir)
	return err == nil && os.SameFile(locked, named)
}

// unlock removes the folder if nothing is in it, and gives the lock back.
//
// It gives it back by word. To close the descriptor would not do: a container
// that another goroutine has cloned meanwhile has a copy of it until its
// execve, and such a container may be waiting for this very lock.
func (l *stateLock) unlock() error {
	var failed error
	err := os.Remove(l.folder.Name())
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrNotExist) {
		failed = fmt.Errorf("remove network state: %w", err)
	}
	return errors.Join(failed, unix.Flock(int(l.folder.Fd()), unix.LOCK_UN), l.folder.Close())
}
