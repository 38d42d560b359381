package main_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"skiff.example/stage01-chroot/testkit"
)

// What --no-pivot gives up, and what it still does.
func TestWithoutPivotTheHostIsBeneath(t *testing.T) {
	testkit.HostUnchanged(t)
	capable := func(s *specs.Spec) {
		all := []string{"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Permitted: all, Effective: all}
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
	}
	b := newBundle(t, program("/attacker", "beneath"), capable)
	text, err := os.ReadFile(testkit.Build(t, "skiff.example/final/cmd/skiff-oci/testdata/attacker"))
	b.must(err)
	b.install("attacker", string(text))
	host := func(out string) bool { return strings.Contains(out, "etc") } // the bundle has none
	if out := b.succeed("run", "--bundle", b.dir, b.id); host(out) {
		t.Errorf("beneath the root there is %s", out)
	}
	r := b.do("run", "--no-pivot", "--bundle", b.dir, b.id)
	if r.status != 0 || !host(r.out) || !strings.Contains(r.err, "warning: without pivot_root the host's file system stays beneath") {
		t.Errorf("status %d, beneath the root there is %s%s", r.status, r.out, r.err)
	}
}
