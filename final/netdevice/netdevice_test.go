package netdevice_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"skiff.example/final/netdevice"
	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
)

// The devices of these tests are in a network namespace of their own, which stands
// for the host's.
func TestMain(m *testing.M) { os.Exit(testkit.InNewNetwork(m)) }

// ip is ip(8).
func ip(t *testing.T, line string, a ...any) string {
	t.Helper()
	args := strings.Fields(fmt.Sprintf(line, a...))
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A world is the network namespace of a process that sleeps.
type world struct {
	*testing.T
	pid int
	ns  *os.File
}

func newWorld(t *testing.T) *world {
	t.Helper()
	testkit.HostUnchanged(t)
	testkit.Need(t, "ip", "nsenter")
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		_ = ns.Close()
	})
	return &world{t, cmd.Process.Pid, ns}
}

// ip is ip(8) in that namespace.
func (w *world) ip(line string, a ...any) string {
	w.Helper()
	return ip(w.T, "nsenter -t %d -n ip %s", w.pid, fmt.Sprintf(line, a...))
}

// veth makes a pair of devices, of which the first one is to be moved.
func veth(t *testing.T) {
	t.Helper()
	ip(t, "ip link add moving type veth peer name staying")
	ip(t, "ip link set staying up")
	t.Cleanup(func() { ip(t, "ip link del staying") })
}

// words are those that a text must have.
func words(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

func TestADeviceMovesWithItsAddressesAndIsUp(t *testing.T) {
	w := newWorld(t)
	veth(t)
	ip(t, "ip addr add 192.0.2.7/24 broadcast 192.0.2.255 dev moving")
	ip(t, "ip addr add 192.0.2.8/32 peer 192.0.2.9/32 dev moving")
	ip(t, "ip addr add 2001:db8::7/64 dev moving nodad")
	ip(t, "ip addr add 198.51.100.1/24 scope link dev moving")                       // host specific: stays behind
	ip(t, "ip addr add 203.0.113.2/24 dev moving valid_lft 1000 preferred_lft 1000") // has an end: stays behind
	ip(t, "ip link set moving mtu 1400")
	if err := netdevice.Move("moving", "eth0", w.ns); err != nil {
		t.Fatal(err)
	}
	got := w.ip("addr show dev eth0")
	words(t, got, "mtu 1400", "UP", "inet 192.0.2.7/24 brd 192.0.2.255 scope global eth0", "inet 192.0.2.8 peer 192.0.2.9/32", "inet6 2001:db8::7/64 scope global")
	if strings.Contains(got, "198.51.100") || strings.Contains(got, "203.0.113") {
		t.Errorf("addresses came along that should not:\n%s", got)
	}
	words(t, w.ip("route"), "192.0.2.0/24 dev eth0")
	if left := ip(t, "ip link"); strings.Contains(left, "moving") {
		t.Errorf("it is still here:\n%s", left)
	}
}

func TestADeviceKeepsItsNameUnlessItIsGivenAnother(t *testing.T) {
	w := newWorld(t)
	veth(t)
	if err := netdevice.Move("moving", "", w.ns); err != nil {
		t.Fatal(err)
	}
	words(t, w.ip("link show dev moving"), "UP")
}

// The kernel chooses the number, and in the other namespace the device's own one may
// be taken.
func TestATemplateBecomesTheFirstFreeName(t *testing.T) {
	w := newWorld(t)
	veth(t)
	w.ip("link add eth0 type veth peer name other")
	for range 8 { // so that the numbers of both namespaces overlap
		w.ip("link add type veth")
	}
	ip(t, "ip addr add 192.0.2.7/24 dev moving")
	if err := netdevice.Move("moving", "eth%d", w.ns); err != nil {
		t.Fatal(err)
	}
	words(t, w.ip("addr show dev eth1"), "192.0.2.7/24", "UP")
}

func TestANameThatIsTakenIsAnErrorAndNothingMoves(t *testing.T) {
	w := newWorld(t)
	veth(t)
	w.ip("link add eth0 type veth peer name other")
	ip(t, "ip addr add 192.0.2.7/24 dev moving")
	ip(t, "ip link set moving up")
	err := netdevice.Move("moving", "eth0", w.ns)
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(hint.Of(err), "eth%d") {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	words(t, ip(t, "ip addr show dev moving"), "192.0.2.7/24", ",UP")
}

func TestADeviceThatIsNotThereOrCannotMove(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		errno     unix.Errno
		say, hint string
	}{
		"nothere": {unix.ENODEV, `move network device "nothere" into the container: no such device`, "ip link"},
		"lo":      {unix.EINVAL, `move network device "lo" into the container: invalid argument: `, "loopback"},
	} {
		err := netdevice.Move(name, "eth0", w.ns)
		if !errors.Is(err, c.errno) || !strings.HasPrefix(err.Error(), c.say) || !strings.Contains(hint.Of(err), c.hint) {
			t.Errorf("got %v, hint %q", err, hint.Of(err))
		}
	}
	words(t, ip(t, "ip link show dev lo"), ",UP")
}

// Here the new home refuses an address after the move: IPv6 is switched off there.
func TestADeviceThatCannotHaveItsAddressesComesBack(t *testing.T) {
	w := newWorld(t)
	veth(t)
	ip(t, "ip addr add 192.0.2.7/24 dev moving")
	ip(t, "ip addr add 2001:db8::7/64 dev moving nodad")
	ip(t, "ip link set moving up")
	ip(t, "nsenter -t %d -n sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1", w.pid)
	err := netdevice.Move("moving", "eth0", w.ns)
	if err == nil || !strings.Contains(err.Error(), "set address: ") {
		t.Fatalf("got %v", err)
	}
	words(t, ip(t, "ip addr show dev moving"), "192.0.2.7/24", "2001:db8::7/64", ",UP")
}

func TestNames(t *testing.T) {
	for _, name := range []string{"eth0", "eth%d", "fifteen-letters", "ö"} {
		if err := netdevice.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "a:b", "a b", "a\nb", "a\x00", "sixteen--letters"} {
		if err := netdevice.CheckName(name); err == nil {
			t.Errorf("%q is no error", name)
		}
	}
}
