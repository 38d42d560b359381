package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"skiff.example/stage01-chroot/rootfs"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage06-network/world"
)

// The tests run in a network namespace of their own, which plays the host.
func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }

func TestThePlan(t *testing.T) {
	out, err := exec.Command(testkit.Build(t, "."), "plan", "/srv/root", "/bin/sh").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.Golden(t, string(out), "plan.golden")
}

func TestTheDemo(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "bash", "ip", "ping", "nft")
	temp := t.TempDir()
	cmd := exec.Command(testkit.Build(t, "."), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testkit.Golden(t, withoutChance(string(out)), "demo.golden")
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demonstration leaves %v, %v", left, err)
	}
}

// withoutChance replaces what the kernel or a pid chooses: names and indexes of
// links, a port; and IPv6, which some kernels do not have.
func withoutChance(out string) string {
	for _, r := range [][2]string{
		{`veth[0-9a-f]{11}`, `vethNAME`},
		{`@if\d+ +`, `@PEER `},
		{`(/dev/tcp/[\d.]+)/\d+`, `$1/PORT`},
		{`(?m)^address lo ::1/128\n| ::1/128`, ``},
	} {
		out = regexp.MustCompile(r[0]).ReplaceAllString(out, r[1])
	}
	return out
}

// host is a host with an uplink, a root folder with a shell and the probe in
// it, and a state folder.
type host struct {
	*testing.T
	root, state string
}

func newHost(t *testing.T) *host {
	t.Helper()
	w, err := world.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{t, t.TempDir(), filepath.Join(t.TempDir(), "state")}
	shell, err := rootfs.FromPrograms("sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Write(h.root); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(testkit.Probe(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.root, "probe"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// command is `stage06 run` with the state folder of this host.
func (h *host) command(args ...string) *exec.Cmd {
	h.Helper()
	return exec.Command(testkit.Build(h, "."), append([]string{"run", "--state", h.state}, args...)...)
}

// run runs a container and returns what it says.
func (h *host) run(args ...string) string {
	h.Helper()
	out, err := h.command(args...).CombinedOutput()
	if err != nil {
		h.Fatalf("run %q: %v: %s", args, err, out)
	}
	return string(out)
}

// nothingLeft asserts that no lease and no journal is left. Links and rules
// are HostUnchanged's.
func (h *host) nothingLeft() {
	h.Helper()
	left, err := filepath.Glob(filepath.Join(h.state, "*", "*"))
	if err != nil || len(left) > 0 {
		h.Errorf("left behind: %q, %v", left, err)
	}
}

func TestWhatAContainerSees(t *testing.T) {
	testkit.HostUnchanged(t)
	h := newHost(t)
	got := withoutChance(h.run(h.root, "/probe", "hostname", "process", "processes", "descriptors", "network"))
	testkit.Golden(t, got, "probe.golden")
	h.nothingLeft()
}

func TestTheSubnetAndTheBridgeCanBeChosen(t *testing.T) {
	testkit.HostUnchanged(t)
	h := newHost(t)
	got := h.run("--subnet", "10.99.0.0/28", "--bridge", "other0", h.root, "/probe", "network")
	if !strings.Contains(got, "10.99.0.2/28") || !strings.Contains(got, "10.99.0.1") {
		t.Errorf("the address is not from the subnet: %s", got)
	}
	h.nothingLeft()
}

func TestAnUnconnectedContainerHasOnlyLo(t *testing.T) {
	testkit.HostUnchanged(t)
	h := newHost(t)
	if got := h.run("--unconnected", h.root, "/probe", "network"); strings.Contains(got, "eth0") || !strings.Contains(got, "link lo") {
		t.Errorf("links: %s", got)
	}
}

// A run that fails, at any place, leaves nothing.
func TestARunThatFailsLeavesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	h := newHost(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--subnet", "everything", h.root, "/probe"}, `--subnet: netip.ParsePrefix("everything")`},
		{[]string{"--bridge", "uplink", h.root, "/probe"}, "uplink"},
		{[]string{h.root, "/none"}, `execute "/none": no such file or directory`},
		{[]string{h.root + "/none", "/probe"}, "no such file or directory"},
	} {
		out, err := h.command(c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("run %q: %v: %s; want %q", c.args, err, out, c.want)
		}
		h.nothingLeft()
	}
}

func TestARunThatIsInterruptedLeavesNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	h := newHost(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		h.interrupt(signal)
		h.nothingLeft()
	}
}

// The container ends with its parent; lease and rules are left to the next run.
func TestTheNextRunTakesAwayWhatAKilledOneHasLeft(t *testing.T) {
	testkit.HostUnchangedAsInit(t) // nobody waits for the container
	h := newHost(t)
	h.interrupt(syscall.SIGKILL)
	h.run(h.root, "/probe", "hostname")
	h.nothingLeft()
}

// interrupt starts a container that waits, and sends the signal to the run.
func (h *host) interrupt(signal syscall.Signal) {
	h.Helper()
	cmd := h.command(h.root, "sh", "-c", "echo ready; read forever")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		h.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		h.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		h.Fatal(err)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		h.Fatal(err)
	}
	late := time.AfterFunc(10*time.Second, func() { stdin.Close() })
	if err := cmd.Wait(); err == nil {
		h.Errorf("%v: the run went well", signal)
	}
	if !late.Stop() {
		h.Errorf("%v did not end the container", signal)
	}
}
