package main

import (
	"strings"
	"testing"
	"time"

	"skiff.example/stage01-chroot/testkit"
	"skiff.example/stage03-cgroups/cgroup"
)

// What top and pressure draw, from numbers that are always the same.

func TestWhatTopDraws(t *testing.T) {
	began := time.Unix(0, 0)
	at := func(when time.Time, cpu time.Duration) sample {
		return sample{at: when, stats: &cgroup.Stats{CPU: &cgroup.CPUStats{Usage: cpu}}}
	}
	web := at(began.Add(time.Second), 700*time.Millisecond)
	web.stats.Pids = &cgroup.PidsStats{Current: 7, Max: 20}
	web.stats.Memory = &cgroup.MemoryStats{Current: 61 << 20, Max: 64 << 20}
	web.stats.Memory.OOMKill = 2
	web.stats.IO = []cgroup.IOStats{{RBytes: 3 << 20, WBytes: 1 << 10}, {RBytes: 1 << 20}}
	idle := at(began.Add(time.Second), 5*time.Millisecond)
	idle.stats.Pids = &cgroup.PidsStats{Current: 1, Max: cgroup.NoLimit}
	idle.stats.Memory = &cgroup.MemoryStats{Current: 300 << 10, Max: cgroup.NoLimit}
	paused := at(began.Add(time.Second), 0)
	paused.frozen = true
	paused.stats.Pids = &cgroup.PidsStats{Current: 1, Max: cgroup.NoLimit}
	paused.stats.Memory = &cgroup.MemoryStats{Current: 208 << 10, Max: cgroup.NoLimit}
	over := at(began.Add(time.Second), 0)
	over.empty = true
	over.stats.Pids = &cgroup.PidsStats{Current: 1, Max: 10} // the dead are counted until their parent has waited
	few := at(began.Add(time.Second), 0)                     // of a machine that counts neither processes nor memory
	var out strings.Builder
	err := draw(&out,
		map[string]sample{"web": at(began, 500*time.Millisecond), "idle": at(began, 0), "paused": at(began, 0), "over": at(began, 0)},
		map[string]sample{"web": web, "idle": idle, "paused": paused, "over": over, "few": few})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, out.String(), "top.golden")
}

func TestWhatPressureDraws(t *testing.T) {
	var out strings.Builder
	err := drawPressure(&out, &cgroup.Pressures{
		CPU:    &cgroup.Pressure{Some: cgroup.Stall{Avg10: 79.6, Avg60: 40.1, Avg300: 9.5}, Full: cgroup.Stall{Avg10: 78, Avg60: 39, Avg300: 9}},
		Memory: &cgroup.Pressure{},
		IO:     &cgroup.Pressure{Some: cgroup.Stall{Avg10: 25, Avg60: 5.5, Avg300: 1}, Full: cgroup.Stall{Avg10: 12.6, Avg60: 2.7, Avg300: 0.5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, out.String(), "pressure.golden")
}
