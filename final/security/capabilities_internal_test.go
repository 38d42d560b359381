package security

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A kernel that is older than this program has fewer capabilities: prctl(2)
// and capset(2) would refuse the others.
func TestACapabilityThatTheKernelDoesNotHaveIsAWarning(t *testing.T) {
	names := []string{"CAP_KILL", "CAP_BPF"}
	sets, warnings := parseCapabilities(&specs.LinuxCapabilities{Bounding: names, Permitted: names}, unix.CAP_BPF-1, 0)
	if len(warnings) != 1 || sets.bounding != 1<<unix.CAP_KILL || sets.permitted != 1<<unix.CAP_KILL {
		t.Errorf("got %+v, warnings %q", sets, warnings)
	}
	sets, warnings = parseCapabilities(&specs.LinuxCapabilities{Permitted: names}, unix.CAP_BPF, 0)
	if len(warnings) != 0 || sets.permitted != 1<<unix.CAP_KILL|1<<unix.CAP_BPF {
		t.Errorf("got %+v, warnings %q", sets, warnings)
	}
}

// Nor does a process get what its parent lacks.
func TestACapabilityThatIsWithheldIsAWarning(t *testing.T) {
	names := []string{"CAP_KILL", "CAP_BPF"}
	sets, warnings := parseCapabilities(&specs.LinuxCapabilities{Bounding: names, Ambient: names, Permitted: names, Inheritable: names}, unix.CAP_BPF, 1<<unix.CAP_BPF)
	want := capabilitySets{bounding: 1 << unix.CAP_KILL, permitted: 1 << unix.CAP_KILL, inheritable: 1 << unix.CAP_KILL, ambient: 1 << unix.CAP_KILL}
	if len(warnings) != 1 || warnings[0] != "capability CAP_BPF is not one that skiff has itself; the container does not have it" || sets != want {
		t.Errorf("got %+v, warnings %q", sets, warnings)
	}
}
