// Memory: how much a group may use before the kernel reclaims, swaps and
// finally kills (admin-guide/cgroup-v1/memory, admin-guide/cgroup-v2 "Memory").
//
//	             v1                           v2
//	limit        memory.limit_in_bytes        memory.max
//	swap         memory.memsw.limit_in_bytes  memory.swap.max (swap alone)
//	reservation  memory.soft_limit_in_bytes   memory.low
//
// Numbers are bytes; -1 is no limit.

package cgroup

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// memoryV1: Kernel and UseHierarchy are not looked at (see Ignored).
func memoryV1(_ string, r *specs.LinuxResources) ([]setting, error) {
	m := r.Memory
	if m == nil {
		return nil, nil
	}
	swap, killer := number(m.Swap), ""
	if swap == "" && set(m.Limit) && *m.Limit < 0 {
		swap = "-1" // memory without limit is impossible under a limit on memory and swap
	}
	if oomKillerOff(m) {
		killer = "1"
	}
	return []setting{
		to("memory.limit_in_bytes", number(m.Limit)),
		// A kernel without swap accounting (swapaccount=0) has no limit anyway.
		{"memory.memsw.limit_in_bytes", swap, swap == "-1"},
		to("memory.oom_control", killer),
		to("memory.soft_limit_in_bytes", number(m.Reservation)),
		to("memory.kmem.tcp.limit_in_bytes", number(m.KernelTCP)),
		to("memory.swappiness", given(m.Swappiness)),
	}, checkMemory(m)
}

// oomKillerOff: false is what engines send when nobody asked.
func oomKillerOff(m *specs.LinuxMemory) bool {
	return m.DisableOOMKiller != nil && *m.DisableOOMKiller
}

func memoryV2(dir string, r *specs.LinuxResources) ([]setting, error) {
	m := r.Memory
	switch {
	case set(m.KernelTCP):
		return nil, onlyV1("memory.kernelTCP")
	case m.Swappiness != nil:
		return nil, onlyV1("memory.swappiness")
	case oomKillerOff(m):
		return nil, onlyV1("memory.disableOOMKiller")
	}
	swap, err := swapBesides(dir, m)
	if err != nil {
		return nil, err
	}
	return []setting{
		// A kernel without swap uses none, and bounds none.
		{"memory.swap.max", swap, swap == unlimited || swap == "0"},
		to("memory.max", maxOf(m.Limit)),
		to("memory.low", maxOf(m.Reservation)),
	}, checkUsage(dir, m)
}

// checkMemory refuses what is never written: v2 has files that would take some
// of it, and v1 answers with an EINVAL that does not say which.
func checkMemory(m *specs.LinuxMemory) error {
	for _, n := range []struct {
		name string
		n    *int64
	}{{"limit", m.Limit}, {"swap", m.Swap}, {"reservation", m.Reservation}, {"kernelTCP", m.KernelTCP}} {
		if n.n != nil && *n.n < -1 {
			return invalid("memory.%s %d: bytes, or -1 for no limit", n.name, *n.n)
		}
	}
	if m.Swappiness != nil && *m.Swappiness > 100 {
		return invalid("memory.swappiness %d: 0 to 100", *m.Swappiness)
	}
	if set(m.Limit) && set(m.Swap) && *m.Swap > 0 && *m.Swap < *m.Limit {
		return lessThanMemory(m)
	}
	return nil
}

func lessThanMemory(m *specs.LinuxMemory) error {
	return invalid("memory.swap %d is the sum of memory and swap, and less than memory.limit %d", *m.Swap, *m.Limit)
}

// maxOf formats a memory limit for v2; "" if none was mentioned.
func maxOf(n *int64) string {
	if !set(n) {
		return ""
	}
	return limit(*n)
}

// swapBesides is swapAlone, where an update with no limit on memory means the one
// that the group has.
func swapBesides(dir string, m *specs.LinuxMemory) (string, error) {
	if !set(m.Swap) || set(m.Limit) {
		return swapAlone(m)
	}
	now, err := readNumber(dir, "memory.max")
	if err != nil {
		return "", err
	}
	limit := int64(-1)
	if now != NoLimit {
		limit = int64(now)
	}
	return swapAlone(&specs.LinuxMemory{Swap: m.Swap, Limit: &limit})
}

// swapAlone returns the value for memory.swap.max. The specification's swap is
// that of v1, memory and swap together; v2 counts swap alone.
func swapAlone(m *specs.LinuxMemory) (string, error) {
	switch {
	case !set(m.Swap):
		if set(m.Limit) && *m.Limit < 0 {
			return unlimited, nil
		}
		return "", nil
	case *m.Swap < 0:
		return unlimited, nil
	case !set(m.Limit) || *m.Limit < 0:
		return "", invalid("memory.swap %d needs memory.limit, because it is the sum of both", *m.Swap)
	case *m.Swap < *m.Limit:
		return "", lessThanMemory(m)
	}
	return strconv.FormatInt(*m.Swap-*m.Limit, 10), nil
}

// checkUsage refuses a limit below what is in use, if that was asked for: v1
// does so by itself, v2 would start the OOM killer.
func checkUsage(dir string, m *specs.LinuxMemory) error {
	if m.CheckBeforeUpdate == nil || !*m.CheckBeforeUpdate || !set(m.Limit) || *m.Limit < 0 {
		return nil
	}
	used, err := readNumber(dir, "memory.current")
	if err != nil || uint64(*m.Limit) >= used {
		return err
	}
	return writeError(dir, "memory.max", limit(*m.Limit), unix.EBUSY)
}
