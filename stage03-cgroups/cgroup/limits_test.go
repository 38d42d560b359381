// Limits: what is asked for in the words of the runtime specification stands
// afterwards in the kernel's files.

package cgroup_test

import (
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

func TestMemoryLimitsMoveUpAndDown(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "memory")
	const MiB = int64(1 << 20)
	// Memory alone may never be allowed more than memory and swap together, not
	// even between the two writes.
	for _, step := range [][2]int64{{64 * MiB, 64 * MiB}, {256 * MiB, 512 * MiB}, {16 * MiB, 32 * MiB}} {
		must(t, m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &step[0], Swap: &step[1], Reservation: p(8 * MiB)}}))
		want(t, m, "memory", "memory.limit_in_bytes", itoa(step[0]))
		want(t, m, "memory", "memory.memsw.limit_in_bytes", itoa(step[1]))
		want(t, m, "memory", "memory.soft_limit_in_bytes", itoa(8*MiB))
	}
	must(t, m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](-1)}}))
	stats, err := m.Stats()
	must(t, err)
	if stats.Memory.Max != cgroup.NoLimit {
		t.Errorf("limit %d, want none", stats.Memory.Max)
	}
}

func TestMemoryThatIsInUseCannotBeTakenAway(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "busy")
	must(t, m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](64 << 20), Swap: p[int64](64 << 20)}}))
	shell := start(t, m, "x=$(head -c 8000000 /dev/zero | tr '\\0' x); echo full; read done")
	if said := shell.line(); said != "full" {
		t.Fatal(said)
	}
	err := m.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: p[int64](1 << 20)}})
	file := m.Paths()["memory"] + "/memory.limit_in_bytes"
	if !errors.Is(err, unix.EBUSY) || err.Error() != `cgroup: write "1048576" to "`+file+`": device or resource busy` {
		t.Errorf("error %v", err)
	}
	if h := hint.Of(err); !strings.Contains(h, "uses more memory") {
		t.Errorf("hint %q", h)
	}
}

func TestCPULimits(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "cpu")
	must(t, m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{
		Shares: p[uint64](2048), Quota: p[int64](50000), Period: p[uint64](200000), Burst: p[uint64](10000),
		Cpus: "0", Mems: "0",
	}}))
	want(t, m, "cpu", "cpu.shares", "2048")
	want(t, m, "cpu", "cpu.cfs_period_us", "200000")
	want(t, m, "cpu", "cpu.cfs_quota_us", "50000")
	want(t, m, "cpu", "cpu.cfs_burst_us", "10000")
	want(t, m, "cpuset", "cpuset.cpus", "0")
	want(t, m, "cpuset", "cpuset.mems", "0")

	// What an update does not mention stays as it is.
	must(t, m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Burst: p[uint64](0), Quota: p[int64](-1)}}))
	want(t, m, "cpu", "cpu.cfs_quota_us", "-1")
	want(t, m, "cpu", "cpu.cfs_burst_us", "0")
	want(t, m, "cpu", "cpu.shares", "2048")
}

func TestZeroPidsIsALimit(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "pids")
	for _, limit := range []struct {
		limit int64
		want  string
	}{{20, "20"}, {0, "0"}, {-1, "max"}} {
		must(t, m.Set(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit.limit}}))
		want(t, m, "pids", "pids.max", limit.want)
	}
}

func TestBlockIOWeight(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, legacy(t), "blkio")
	must(t, m.Set(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: p[uint16](250)}}))
	if got := run(t, "cat "+m.Paths()["blkio"]+"/blkio.*weight"); got != "250" {
		t.Errorf("weight %q, want 250", got)
	}
	err := m.Set(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: p[uint16](250)}})
	if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "leafWeight") {
		t.Errorf("leaf weight: %v", err)
	}
}

// What engines send when a user asked for nothing: it must neither fail nor
// need a controller.
func TestNothingAskedNeedsNothing(t *testing.T) {
	testkit.HostUnchanged(t)
	m := create(t, &cgroup.Hierarchies{V2: unified(t).V2}, "nothing")
	must(t, m.Set(nil))
	must(t, m.Set(&specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: p[int64](0), DisableOOMKiller: p(false)},
		CPU:     &specs.LinuxCPU{Shares: p[uint64](0), Quota: p[int64](0)},
		BlockIO: &specs.LinuxBlockIO{Weight: p[uint16](0)},
		Pids:    &specs.LinuxPids{},
		Network: &specs.LinuxNetwork{},
	}))
}

// A limit that cannot be kept is an error, never a container without it.
func TestAControllerThatIsNotThereIsNamed(t *testing.T) {
	testkit.HostUnchanged(t)
	h := legacy(t)
	for i, v1 := range h.V1 {
		if v1.Controllers[0] == "memory" {
			h.V1 = append(h.V1[:i:i], h.V1[i+1:]...)
			break
		}
	}
	m := create(t, h, "missing")
	for name, r := range map[string]*specs.LinuxResources{
		"memory":  someLimits(),
		"net_cls": {Network: &specs.LinuxNetwork{ClassID: p[uint32](1)}},
		"rdma":    {Rdma: map[string]specs.LinuxRdma{"mlx": {HcaHandles: p[uint32](1)}}},
	} {
		err := m.Set(r)
		if !errors.Is(err, cgroup.ErrNoController) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one that names %s", err, name)
		}
		if h := hint.Of(err); !strings.Contains(h, "mount -t cgroup -o "+name) {
			t.Errorf("hint %q", h)
		}
	}
	if err := m.Set(&specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unified without v2: %v", err)
	}
}

func TestSharesBecomeWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{
		1: 1, 2: 1, 256: 35, 512: 59, 1000: 99, 1024: 100, 2000: 170, 2048: 174, 262144: 10000, 1 << 40: 10000,
	} {
		if got := cgroup.Weight(shares); got != want {
			t.Errorf("%d shares are weight %d, want %d", shares, got, want)
		}
	}
}

// Quota, period and burst bound each other, and the group above bounds them: there
// is one order that leads there.
func TestAQuotaThatGrowsWithItsPeriodAndBurst(t *testing.T) {
	kinds(t, func(t *testing.T, h *cgroup.Hierarchies) {
		if h.Mode() == cgroup.Unified && !strings.Contains(run(t, "cat "+h.V2.MountPoint+"/cgroup.controllers"), "cpu ") {
			return // the v2 half of a hybrid machine
		}
		above, m := create(t, h, "grows"), create(t, h, "grows/below")
		must(t, above.Set(resources(t, `{"cpu": {"quota": 50000, "period": 100000}}`)))
		must(t, m.Set(resources(t, `{"cpu": {"quota": 50000, "period": 100000, "burst": 40000}}`)))
		must(t, m.Set(resources(t, `{"cpu": {"quota": 200000, "period": 400000, "burst": 150000}}`)))
		must(t, m.Set(resources(t, `{"cpu": {"quota": 50000, "period": 100000, "burst": 40000}}`)))
		if err := m.Set(resources(t, `{"cpu": {"quota": 1, "period": 100000}}`)); !errors.Is(err, unix.EINVAL) {
			t.Errorf("error %v", err)
		}
	})
}
