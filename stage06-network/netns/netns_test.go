package netns_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage06-network/netns"
)

func newNamespace(t *testing.T) *netns.Namespace {
	t.Helper()
	testkit.HostUnchanged(t)
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestANewNamespaceHasItsLoopbackUp(t *testing.T) {
	n := newNamespace(t)
	testkit.Need(t, "ping")
	err := n.Do(func() error { return exec.Command("ping", "-c", "1", "-W", "1", "127.0.0.1").Run() })
	if err != nil {
		t.Error(err)
	}
}

func TestAVisitorComesHome(t *testing.T) {
	n := newNamespace(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := current(t)
	inside := ""
	err := n.Do(func() (err error) { inside, err = netns.Current(); return })
	if err != nil {
		t.Fatal(err)
	}
	if id, err := n.ID(); err != nil || inside != id || inside == home {
		t.Errorf("inside it was %s, the namespace is %s %v, home is %s", inside, id, err, home)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks { // the visitor's thread is one of these, or has ended
		at, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && at != home {
			t.Errorf("thread %s is in %s", task.Name(), at)
		}
	}
}

func TestAVisitorsErrorIsReturned(t *testing.T) {
	n := newNamespace(t)
	want := errors.New("nothing to see here")
	if err := n.Do(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// What is opened inside stays inside: two may have the same port.
func TestASocketBelongsToWhereItWasOpened(t *testing.T) {
	n := newNamespace(t)
	var inside net.Listener
	err := n.Do(func() (err error) { inside, err = net.Listen("tcp4", "127.0.0.1:0"); return })
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	outside, err := net.Listen("tcp4", inside.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	outside.Close()
}

func TestPathOpensTheSameNamespace(t *testing.T) {
	n := newNamespace(t)
	again, err := netns.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	a, errA := n.ID()
	b, errB := again.ID()
	if a != b || errA != nil || errB != nil {
		t.Errorf("%s %v, opened again %s %v", a, errA, b, errB)
	}
}

func TestWhatIsNoNetworkNamespaceIsRefused(t *testing.T) {
	for path, want := range map[string]string{
		"/proc/self/ns/uts": `open network namespace "/proc/self/ns/uts": it is not a network namespace`,
		"/dev/null":         `open network namespace "/dev/null": it is not a network namespace`,
		"/nowhere":          `open network namespace "/nowhere": no such file or directory`,
	} {
		if _, err := netns.Open(path); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// TestMain also plays a process without root's powers.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "make-namespace" {
		if _, err := netns.New(); err != nil {
			hint.Print(os.Stdout, "test", err)
		}
		return
	}
	os.Exit(m.Run())
}

func TestWithoutRootTheErrorSaysSo(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv")
	out, err := exec.Command("setpriv", "--bounding-set", "-sys_admin", "--", os.Args[0], "make-namespace").CombinedOutput()
	want := "test: make a network namespace: enter the network namespace: operation not permitted\n" +
		"hint: a network namespace needs CAP_SYS_ADMIN: run it as root\n"
	if err != nil || string(out) != want {
		t.Errorf("%v: got %swant %s", err, out, want)
	}
}

func current(t *testing.T) string {
	t.Helper()
	id, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	return id
}
