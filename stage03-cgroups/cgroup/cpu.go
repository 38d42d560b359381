// CPU: a share of the processors when they are busy, and a hard cap of time in
// each period (scheduler/sched-bwc, admin-guide/cgroup-v2 "CPU").
//
//	               v1                                    v2
//	shares         cpu.shares          2 … 262144        cpu.weight   1 … 10000
//	quota, period  cpu.cfs_quota_us, cpu.cfs_period_us   cpu.max      "quota period"
//	burst          cpu.cfs_burst_us                      cpu.max.burst
//	idle           cpu.idle                              cpu.idle
//
// Times are in microseconds.

package cgroup

import (
	"math"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func cpuV1(_ string, r *specs.LinuxResources) ([]setting, error) {
	c := r.CPU
	if c == nil {
		return nil, nil
	}
	return []setting{
		to("cpu.idle", given(c.Idle)),
		to("cpu.shares", shares(c, func(n uint64) uint64 { return n })),
		to("cpu.cfs_burst_us", given(c.Burst)),
		to("cpu.cfs_period_us", number(c.Period)),
		to("cpu.cfs_quota_us", number(c.Quota)),
		to("cpu.rt_period_us", number(c.RealtimePeriod)),
		to("cpu.rt_runtime_us", number(c.RealtimeRuntime)),
	}, checkCPU(c)
}

func cpuV2(dir string, r *specs.LinuxResources) ([]setting, error) {
	c := r.CPU
	if set(c.RealtimeRuntime) || set(c.RealtimePeriod) {
		return nil, onlyV1("cpu.realtimeRuntime and cpu.realtimePeriod")
	}
	bandwidth, err := quotaAndPeriod(dir, c)
	return []setting{
		to("cpu.idle", given(c.Idle)),
		to("cpu.weight", shares(c, Weight)),
		to("cpu.max.burst", given(c.Burst)),
		to("cpu.max", bandwidth),
	}, err
}

// checkCPU refuses numbers that the two versions would take for different
// things: v1 knows -1 alone as "no quota", and the kernel would also take -2.
func checkCPU(c *specs.LinuxCPU) error {
	if c.Quota != nil && *c.Quota < -1 {
		return invalid("cpu.quota %d: microseconds, or -1 for no limit", *c.Quota)
	}
	if c.Burst != nil && set(c.Quota) && *c.Quota > 0 && *c.Burst > uint64(*c.Quota) {
		return invalid("cpu.burst %d is more than cpu.quota %d", *c.Burst, *c.Quota)
	}
	return nil
}

// shares: a group that is idle has none, and the kernel refuses them.
func shares(c *specs.LinuxCPU, convert func(uint64) uint64) string {
	if !set(c.Shares) || c.Idle != nil && *c.Idle == 1 {
		return ""
	}
	return strconv.FormatUint(convert(*c.Shares), 10)
}

// quotaAndPeriod returns the line for cpu.max. The kernel keeps the old period
// when the line has none, but there is no way to leave out the quota: a new
// period alone goes with the quota that is there.
func quotaAndPeriod(dir string, c *specs.LinuxCPU) (string, error) {
	switch {
	case !set(c.Quota) && !set(c.Period):
		return "", nil
	case !set(c.Period):
		return limit(*c.Quota), nil
	case set(c.Quota):
		return limit(*c.Quota) + " " + number(c.Period), nil
	}
	now, err := read(dir, "cpu.max")
	if err != nil {
		return "", err
	}
	quota, _, _ := strings.Cut(now, " ")
	return quota + " " + number(c.Period), nil
}

// Weight converts v1 cpu.shares to v2 cpu.weight, so that the least, the
// default and the greatest value of one become those of the other:
//
//	shares       2   1024   262144
//	weight       1    100    10000
//
// The three points lie on no line, not even on a logarithmic one. With
// l = log2(shares), the parabola (l² + 125·l)/612 − 7/34 through them is
// log10(weight). The older linear formula gave a default container 39, so it
// lost to every process outside of containers (kubernetes issue 131216,
// opencontainers/runc issue 4896, crun pull request 1767). Shares out of range
// become the nearest in range.
func Weight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}
