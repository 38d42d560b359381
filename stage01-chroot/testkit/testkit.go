// Package testkit is what the tests of every stage share.
//
// A test of a container runtime changes the machine that it runs on, so the
// first line of every test that needs root says that nothing may be left:
//
//	func TestAHostnameStaysInside(t *testing.T) {
//		testkit.HostUnchanged(t)
//		…
//		testkit.Golden(t, output, "hostname.golden")
//	}
//
// What a container looks like from the inside is told by a small program of
// our own (Probe), and a package whose tests need a network of their own gets
// one for all of them (InNewNetwork).
package testkit

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Root says that a test needs root. For others the test is skipped, and says
// so; where CI is set to true a skipped test is a failure, because nobody
// would read it.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root: it creates namespaces, mounts or control groups of the host")
	}
}

// Need says that a test needs these programs. Where one is not in PATH the
// test is skipped, or fails where CI is set to true.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) > 0 {
		skip(t, "needs programs that are not in PATH: "+strings.Join(missing, ", "))
	}
}

// Missing skips a test that needs what this machine does not have: the test has
// looked for it, and reason says what. Where CI is set to true the test fails.
func Missing(t testing.TB, reason string) {
	t.Helper()
	skip(t, reason)
}

// skip skips the test, or fails it in CI. GitHub, GitLab and most others set
// CI=true.
func skip(t testing.TB, reason string) {
	t.Helper()
	if ci, err := strconv.ParseBool(os.Getenv("CI")); err == nil && ci {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
