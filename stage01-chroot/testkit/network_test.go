package testkit_test

import (
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"testing"

	"skiff.example/stage01-chroot/testkit"
)

func TestInNewNetworkThereIsOnlyLoopbackAndItIsUp(t *testing.T) {
	testkit.Root(t)
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if link.Name == "lo" && link.Flags&net.FlagUp == 0 {
			t.Error("lo is not up")
		}
		if up := link.Flags&net.FlagUp != 0; link.Name != "lo" && up {
			t.Errorf("link %s is up: this is no network of our own", link.Name)
		}
	}
}

// fail is how a test tells this one, in a process of its own, to fail.
var fail = flag.Bool("fail", false, "let TestInNewNetworkPassesTheExitCodeOn fail")

func TestInNewNetworkPassesTheExitCodeOn(t *testing.T) {
	testkit.Root(t)
	if *fail {
		t.Fatal("as told")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-fail")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("a failing test ended with %v, want exit status 1\n%s", err, out)
	}
}
