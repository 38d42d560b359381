package namespace_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage02-namespaces/namespace"
)

func TestAConfigurationThatCannotBeMetIsRefused(t *testing.T) {
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	one := func(kind specs.LinuxNamespaceType, path string) []specs.LinuxNamespace {
		return []specs.LinuxNamespace{{Type: kind, Path: path}}
	}
	var text strings.Builder
	for _, wanted := range [][]specs.LinuxNamespace{
		append(one("pid", ""), one("pid", "/proc/self/ns/pid")...),
		one("pidd", ""),
		one("network", "/proc/self/ns/uts"),
		one("ipc", plain),
		one("mount", "/nonexistent"),
	} {
		set, err := namespace.NewSet(wanted)
		if err == nil {
			t.Errorf("%v is no error", wanted)
			err = set.Close()
		}
		fmt.Fprintln(&text, err)
	}
	testkit.Golden(t, text.String(), "refused.golden")
}

func TestASetKnowsWhatIsNewAndWhatIsJoined(t *testing.T) {
	testkit.HostUnchanged(t)
	other := holder(t, specs.NetworkNamespace)
	set := newSet(t, []specs.LinuxNamespace{
		{Type: specs.PIDNamespace},
		{Type: specs.CgroupNamespace},
		{Type: specs.NetworkNamespace, Path: fmt.Sprintf("/proc/%d/ns/net", other.Pid)},
	})
	if !set.New(unix.CLONE_NEWPID) || set.New(unix.CLONE_NEWNET) || set.New(unix.CLONE_NEWUTS) {
		t.Error("New is wrong")
	}
	if !set.Has(unix.CLONE_NEWPID) || !set.Has(unix.CLONE_NEWNET) || set.Has(unix.CLONE_NEWUTS) {
		t.Error("Has is wrong")
	}
	// The cgroup namespace comes when the process is in its cgroup.
	if got := set.Born(); got != unix.CLONE_NEWPID {
		t.Errorf("born with %#x", got)
	}
}
