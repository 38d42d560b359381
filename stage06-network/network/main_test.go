// The tests of this package run in a network namespace of their own, which
// plays the host: its links, rules and settings are no machine's.

package network_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/journal"
	"skiff.example/stage06-network/netns"
	"skiff.example/stage06-network/network"
	"skiff.example/stage06-network/world"
)

// TestMain lets the test program also play a runtime that is killed: it is run
// again with "attach" or "undo" as its first argument (killed_test.go).
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "attach" && os.Args[1] != "undo" {
		os.Exit(testkit.InNewNetwork(m))
	}
	runtime.LockOSThread() // so that its system calls can be counted
	if err := playRuntime(os.Args[1], os.Args[2:]); err != nil {
		hint.Print(os.Stderr, "runtime", err)
		os.Exit(1)
	}
}

// playRuntime is one run of a runtime for the container "victim": its state
// folder, its journal, and the path of the container's network namespace.
func playRuntime(role string, args []string) error {
	j, err := journal.Open(args[1])
	if err != nil {
		return err
	}
	if role == "undo" {
		return j.Undo(undoers())
	}
	n, err := network.Open(args[0], network.Config{})
	if err != nil {
		return err
	}
	_, err = n.Attach(j, "victim", args[2])
	return err
}

func undoers() journal.Undoers { return journal.Undoers{network.UndoKind: network.Undo} }

// host is what a test starts from: a host with an uplink, and a network on it.
type host struct {
	*testing.T
	world    *world.World
	stateDir string
	network  *network.Network
}

// newHost makes the world, and asserts that the test leaves nothing in it.
func newHost(t *testing.T) *host {
	testkit.HostUnchanged(t)
	testkit.Need(t, "ip", "nft", "ping", "bash")
	w, err := world.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{T: t, world: w, stateDir: filepath.Join(t.TempDir(), "network")}
	h.network = h.open(network.Config{})
	return h
}

func (h *host) open(c network.Config) *network.Network {
	h.Helper()
	n, err := network.Open(h.stateDir, c)
	if err != nil {
		h.Fatal(err)
	}
	return n
}

// namespace makes a network namespace for a container.
func (h *host) namespace() *netns.Namespace {
	h.Helper()
	ns, err := netns.New()
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := ns.Close(); err != nil {
			h.Error(err)
		}
	})
	return ns
}

// container is a network namespace that is attached.
type container struct {
	*host
	*network.Endpoint
	id      string
	ns      *netns.Namespace
	journal *journal.Journal
}

// attach attaches a new container; the test's end undoes its journal.
func (h *host) attach(id string) *container {
	h.Helper()
	c := &container{host: h, id: id, ns: h.namespace(), journal: h.journal()}
	var err error
	if c.Endpoint, err = h.network.Attach(c.journal, id, c.ns.Path()); err != nil {
		h.Fatal(err)
	}
	return c
}

// journal makes a container's journal; the test's end undoes it.
func (h *host) journal() *journal.Journal {
	h.Helper()
	j, err := journal.Open(filepath.Join(h.TempDir(), "journal"))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := j.Undo(undoers()); err != nil {
			h.Error(err)
		}
	})
	return j
}

// run runs a program in the container's namespace and returns what it says.
func (c *container) run(program string, args ...string) string {
	c.Helper()
	out, err := world.Run(c.ns, program, args...)
	if err != nil {
		c.Fatalf("in container %s: %v", c.id, err)
	}
	return out
}

// ping sends one ping and waits a second at most for the answer.
func (c *container) ping(to netip.Addr) error {
	_, err := world.Run(c.ns, "ping", "-c", "1", "-W", "1", to.String())
	return err
}

// sh runs a command line on the host.
func (h *host) sh(line string) string {
	h.Helper()
	out, err := exec.Command("bash", "-c", line).CombinedOutput()
	if err != nil {
		h.Fatalf("%s: %v: %s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// replace replaces each pattern in text by the word that follows it.
func (h *host) replace(text string, pairs ...string) string {
	h.Helper()
	for i := 0; i < len(pairs); i += 2 {
		text = regexp.MustCompile(pairs[i]).ReplaceAllString(text, pairs[i+1])
	}
	return text
}

// mustFail asserts that err has all these parts in its text or its hint.
func mustFail(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	text := err.Error() + "\nhint: " + hint.Of(err)
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error %q has no %q", text, part)
		}
	}
}
