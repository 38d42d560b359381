package world_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage06-network/world"
)

// TestMain lets the test program also play a demo, which lives in a world.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || os.Args[1] != "demo" {
		os.Exit(testkit.InNewNetwork(m))
	}
	if err := demo(); err != nil {
		hint.Print(os.Stderr, "demo", err)
		os.Exit(1)
	}
}

// demo asks the outside who it is.
func demo() (err error) {
	w, err := world.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	server, mirror, err := w.Mirror()
	if err != nil {
		return err
	}
	defer mirror.Close()
	out, err := exec.Command("bash", "-c", fmt.Sprintf("cat </dev/tcp/%s/%d", server.Addr(), server.Port())).CombinedOutput()
	fmt.Print(string(out))
	return err
}

func TestADemoLivesInAWorldOfItsOwn(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "bash")
	c := world.Command("demo")
	c.Stdout, c.Stderr = nil, nil
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "198.51.100.1\n" {
		t.Errorf("%v: the outside sees %q", err, out)
	}
}

func TestTheHostReachesTheOutside(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "ip", "ping")
	w, err := world.New()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ping", "-c", "1", "-W", "1", w.OutsideAddress.String()).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	route, err := world.Run(w.Outside, "ip", "route")
	if err != nil || strings.Contains(route, "default") {
		t.Errorf("the outside must know no way to the containers: %s %v", route, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestARealNetworkIsNeverMadeAWorldOf(t *testing.T) {
	testkit.HostUnchanged(t)
	w, err := world.New()
	if err != nil {
		t.Fatal(err)
	}
	_, err = world.New()
	if err == nil || !strings.Contains(err.Error(), `has a link "uplink" of its own`) || hint.Of(err) == "" {
		t.Errorf("got %v, hint %q", err, hint.Of(err))
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
