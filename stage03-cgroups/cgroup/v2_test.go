// What cgroup v2 alone has: controllers that are handed down, files by name.

package cgroup_test

import (
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// On the kernel: a limit enables its controller in every group above.
func TestV2ControllersAreEnabledOnTheWay(t *testing.T) {
	testkit.HostUnchanged(t)
	h := detect(t) // a hybrid machine enables only what a limit asks for
	unified(t)     // for its clean-up
	if !strings.Contains(run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers"), "hugetlb") {
		t.Skip("needs the hugetlb controller in the v2 hierarchy")
	}
	m := create(t, h, "way/down/here")
	pages := []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}} // of 1GB not every machine has any
	must(t, m.Set(&specs.LinuxResources{HugepageLimits: pages}))
	want(t, m, "", "hugetlb.2MB.max", "4194304")
	want(t, m, "", "hugetlb.2MB.rsvd.max", "4194304")
	must(t, m.Set(&specs.LinuxResources{
		HugepageLimits: pages,
		Unified:        map[string]string{"cgroup.max.depth": "3", "hugetlb.2MB.rsvd.max": "0"},
	}))
	want(t, m, "", "hugetlb.2MB.max", "4194304")
	want(t, m, "", "hugetlb.2MB.rsvd.max", "0")
	want(t, m, "", "cgroup.max.depth", "3")

	// Every value reaches the kernel, the empty one too: it has the last word.
	err := m.Set(&specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": ""}})
	if !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), `cgroup: write "" to "`+dir(m, "")+`/cgroup.max.depth"`) {
		t.Errorf("error %v", err)
	}
	err = m.Set(&specs.LinuxResources{Unified: map[string]string{"nonsense.max": "1"}})
	if !errors.Is(err, cgroup.ErrNoController) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v", err)
	}
}
