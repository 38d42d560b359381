// Statistics of processor time. v2 has them in cpu.stat, in microseconds; v1 in
// the files of cpuacct and cpu, in nanoseconds (admin-guide/cgroup-v1/cpuacct,
// scheduler/sched-bwc "Statistics").

package cgroup

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// CPUStats counts processor time, of all processors together. In JSON a
// duration is in nanoseconds.
type CPUStats struct {
	Usage  time.Duration `json:"usage_nsec"`
	User   time.Duration `json:"user_nsec"`
	System time.Duration `json:"system_nsec"`
	// PerCPU is the usage of each processor; v1 alone counts it.
	PerCPU []time.Duration `json:"usage_percpu_nsec,omitempty"`
	// Of a group with a quota: how many periods there were in which it ran, in
	// how many of them it used its quota up, and how long its processes waited
	// then, summed over the processors.
	Periods          uint64        `json:"nr_periods"`
	ThrottledPeriods uint64        `json:"nr_throttled"`
	Throttled        time.Duration `json:"throttled_nsec"`
	// How often, and how far, it went over its quota with what it had saved.
	Bursts uint64        `json:"nr_bursts"`
	Burst  time.Duration `json:"burst_nsec"`
}

func (m *Manager) cpuStats(s *Stats) error {
	if dir, ok := m.v1Dir("cpuacct"); ok {
		s.CPU = &CPUStats{}
		if err := s.CPU.readAcct(dir); err != nil {
			return err
		}
	}
	if dir, ok := m.v1Dir("cpu"); ok {
		if s.CPU == nil {
			s.CPU = &CPUStats{}
		}
		return s.CPU.readBandwidth(dir, "throttled_time", "burst_time", time.Nanosecond)
	}
	if m.v2 == nil || !exists(m.v2.dir, "cpu.stat") {
		return nil
	}
	if s.CPU == nil { // usage is the core's: there without the controller
		s.CPU = &CPUStats{}
		if err := s.CPU.readUsage(m.v2.dir); err != nil {
			return err
		}
	}
	return s.CPU.readBandwidth(m.v2.dir, "throttled_usec", "burst_usec", time.Microsecond)
}

// readAcct reads the files of v1's cpuacct.
func (c *CPUStats) readAcct(dir string) error {
	var usage, user, system uint64
	if err := readFiles(dir,
		from{"cpuacct.usage", "", &usage, false},
		from{"cpuacct.usage_user", "", &user, false},
		from{"cpuacct.usage_sys", "", &system, false}); err != nil {
		return err
	}
	c.Usage, c.User, c.System = nano(usage), nano(user), nano(system)
	each, err := read(dir, "cpuacct.usage_percpu")
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(each) {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return fmt.Errorf("cgroup: read %q: %w", dir+"/cpuacct.usage_percpu", err)
		}
		c.PerCPU = append(c.PerCPU, nano(n))
	}
	return nil
}

// readUsage reads what cpu.stat of v2 always has.
func (c *CPUStats) readUsage(dir string) error {
	var usage, user, system uint64
	err := readFiles(dir,
		from{"cpu.stat", "usage_usec", &usage, false},
		from{"cpu.stat", "user_usec", &user, false},
		from{"cpu.stat", "system_usec", &system, false})
	c.Usage, c.User, c.System = 1000*nano(usage), 1000*nano(user), 1000*nano(system)
	return err
}

// readBandwidth reads what cpu.stat has where the cpu controller is.
func (c *CPUStats) readBandwidth(dir, throttledKey, burstKey string, unit time.Duration) error {
	var throttled, burst uint64
	err := readFiles(dir,
		from{"cpu.stat", "nr_periods", &c.Periods, true},
		from{"cpu.stat", "nr_throttled", &c.ThrottledPeriods, true},
		from{"cpu.stat", throttledKey, &throttled, true},
		from{"cpu.stat", "nr_bursts", &c.Bursts, true},
		from{"cpu.stat", burstKey, &burst, true})
	c.Throttled, c.Burst = unit*nano(throttled), unit*nano(burst)
	return err
}

// nano is a number of nanoseconds as a duration.
func nano(n uint64) time.Duration { return time.Duration(n) }
