// Limits of cgroup v2.
//
// On a hybrid machine v1 holds the controllers, and the v2 hierarchy has few
// or none. What it has is tested on the kernel. The files of the other
// controllers are tested on a folder that looks like a group: there is no
// kernel behind it that could refuse a value, so those tests show only which
// value goes to which file. The real ones are tested where v2 has all of them.

package cgroup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// fake is a folder with the files of a v2 group /web below a root that hands
// down all controllers.
func fake(t *testing.T) (*cgroup.Manager, string) {
	t.Helper()
	top := t.TempDir()
	web := filepath.Join(top, "web")
	must(t, os.Mkdir(web, 0o700))
	for _, file := range []string{
		"memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.weight", "cpu.max", "cpu.max.burst", "cpu.idle",
		"cpuset.cpus", "cpuset.mems", "pids.max", "io.weight", "io.max", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "rdma.max",
	} {
		must(t, os.WriteFile(filepath.Join(web, file), nil, 0o600))
	}
	must(t, os.WriteFile(filepath.Join(web, "cgroup.controllers"), []byte("cpuset cpu io memory hugetlb pids rdma\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(web, "memory.current"), []byte("5000000\n"), 0o600))
	h := &cgroup.Hierarchies{V2: &cgroup.Hierarchy{MountPoint: top}}
	return manager(t, h, "/web"), web
}

// written is what now stands in the files of the folder that are not empty.
func written(t *testing.T, web string) string {
	t.Helper()
	return run(t, "cd "+web+"; for f in *; do case $f in *controllers|*current) ;; *) test -s $f && echo $f: $(cat $f); esac; done || true")
}

func TestV2Values(t *testing.T) {
	for _, test := range []struct {
		name, want string
		r          specs.LinuxResources
	}{
		{"memory and swap", "memory.low: 1000\nmemory.max: 6000000\nmemory.swap.max: 2000000", specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: p[int64](6000000), Swap: p[int64](8000000), Reservation: p[int64](1000)},
		}},
		{"no swap", "memory.max: 6000000\nmemory.swap.max: 0", specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: p[int64](6000000), Swap: p[int64](6000000)},
		}},
		{"no memory limit", "memory.max: max\nmemory.swap.max: max", specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: p[int64](-1)},
		}},
		{"cpu", "cpu.max: 50000 200000\ncpu.max.burst: 1000\ncpu.weight: 100\ncpuset.cpus: 0-1\ncpuset.mems: 0", specs.LinuxResources{
			CPU: &specs.LinuxCPU{
				Shares: p[uint64](1024), Quota: p[int64](50000), Period: p[uint64](200000), Burst: p[uint64](1000),
				Cpus: "0-1", Mems: "0",
			},
		}},
		{"quota alone", "cpu.max: 50000", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: p[int64](50000)}}},
		{"no quota", "cpu.max: max", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: p[int64](-1)}}},
		{"period alone", "cpu.max: max 200000", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: p[uint64](200000)}}},
		{"pids", "pids.max: 0", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: p[int64](0)}}},
		{"weight", "io.weight: 4950", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p[uint16](500)}}},
		{"ceiling", "io.max: 8:16 wiops=120", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
			ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 120}},
		}}},
		{"huge pages", "hugetlb.2MB.max: 4194304\nhugetlb.2MB.rsvd.max: 4194304", specs.LinuxResources{
			HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		}},
		{"rdma", "rdma.max: mlx hca_handle=2 hca_object=9", specs.LinuxResources{
			Rdma: map[string]specs.LinuxRdma{"mlx": {HcaHandles: p[uint32](2), HcaObjects: p[uint32](9)}},
		}},
		{"unified", "memory.high: 77", specs.LinuxResources{Unified: map[string]string{"memory.high": "77"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, web := fake(t)
			must(t, m.Set(&test.r))
			if got := written(t, web); got != test.want {
				t.Errorf("written:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// What v2 has no file for, or cannot mean, is an error and writes nothing.
func TestV2Refuses(t *testing.T) {
	yes := true
	for name, test := range map[string]struct {
		r    specs.LinuxResources
		want error
	}{
		"swappiness":      {specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: p[uint64](10)}}, errors.ErrUnsupported},
		"disableOOM":      {specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: &yes}}, errors.ErrUnsupported},
		"realtime":        {specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: p[int64](950000)}}, errors.ErrUnsupported},
		"swap < memory":   {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](2000), Swap: p[int64](1000)}}, unix.EINVAL},
		"swap alone":      {specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: p[int64](1000)}}, unix.EINVAL},
		"below usage":     {specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](4999999), CheckBeforeUpdate: &yes}}, unix.EBUSY},
		"net_cls":         {specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: p[uint32](1)}}, cgroup.ErrNoController},
		"path in unified": {specs.LinuxResources{Unified: map[string]string{"memory.max/../../x": "1"}}, unix.EINVAL},
		"no dot":          {specs.LinuxResources{Unified: map[string]string{"memory": "1"}}, unix.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			m, web := fake(t)
			if err := m.Set(&test.r); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if got := written(t, web); got != "" {
				t.Errorf("written: %s", got)
			}
		})
	}
}

// On the kernel: a limit enables its controller in every group above.
func TestV2ControllersAreEnabledOnTheWay(t *testing.T) {
	testkit.HostUnchanged(t)
	h := detect(t) // a hybrid machine enables only what a limit asks for
	unified(t)     // for its clean-up
	if !strings.Contains(run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers"), "hugetlb") {
		t.Skip("needs the hugetlb controller in the v2 hierarchy")
	}
	m := create(t, h, "way/down/here")
	must(t, m.Set(&specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Unified:        map[string]string{"cgroup.max.depth": "3", "hugetlb.1GB.max": "0"},
	}))
	want(t, m, "", "hugetlb.2MB.max", "4194304")
	want(t, m, "", "hugetlb.2MB.rsvd.max", "4194304")
	want(t, m, "", "hugetlb.1GB.max", "0")
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
