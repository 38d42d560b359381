package main_test

import (
	"os/exec"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// A runtime should not fail for a capability that it cannot grant, and warn:
// runtime-spec config.md, "Linux Process"; capabilities(7).
func TestACapabilityThatTheRuntimeLacksIsAWarning(t *testing.T) {
	testkit.HostUnchanged(t)
	testkit.Need(t, "setpriv")
	names := []string{"CAP_KILL", "CAP_NET_RAW"}
	wants := func(s *specs.Spec) {
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
	}
	b := newBundle(t, wants, program("busybox", "grep", "CapEff", "/proc/self/status"))
	line := append([]string{"--bounding-set", "-net_raw"}, b.command("run", "--bundle", b.dir, b.id).Args...)
	r := b.finish(exec.Command("setpriv", line...))
	if want := "CapEff:\t0000000000000020\n"; r.status != 0 || r.out != want {
		t.Errorf("status %d, %q; want 0 and %q", r.status, r.out, want)
	}
	if want := "capability CAP_NET_RAW is not one that skiff has itself"; strings.Count(r.err, want) != 1 {
		t.Errorf("it warns %q; want once %q", r.err, want)
	}

	b.edit(ownUsers, func(s *specs.Spec) { s.Root.Readonly = false }) // there it has all of them
	b.reachable()
	if got := b.succeed("run", "--bundle", b.dir, b.id); got != "CapEff:\t0000000000002020\n" {
		t.Errorf("in a user namespace of its own: %q", got)
	}
}
