package main

// This file prints what was measured: medians, which a single disturbed run
// does not move, and their ratios.

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"skiff.example/course/bench/taken"
)

// medians are the medians of a candidate's samples.
type medians struct{ wall, cpu, peak float64 } // ms, ms, MB

func mediansOf(samples []taken.Sample) medians {
	of := func(value func(taken.Sample) float64) float64 {
		var all []float64
		for _, s := range samples {
			all = append(all, value(s))
		}
		return median(all)
	}
	return medians{
		wall: of(func(s taken.Sample) float64 { return milliseconds(s.Wall) }),
		cpu:  of(func(s taken.Sample) float64 { return milliseconds(s.CPU) }),
		peak: of(func(s taken.Sample) float64 { return float64(s.Peak) / 1e6 }),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// mostMemory is the ratio to crun's peak memory that skiff-oci strives for.
const mostMemory = 1.5

// median returns the middle value; of an even number, the mean of the two in
// the middle.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// writeTable prints a line for each candidate: the runtimes in the order of find,
// before them perhaps the program without a container, and behind them what is by hand
// and in C, and an empty program in Go.
func writeTable(w io.Writer, load workload, candidates []candidate, samples [][]taken.Sample) error {
	var all []medians
	for _, s := range samples {
		all = append(all, mediansOf(s))
	}
	first := 0
	if candidates[0].name == nothing.name {
		first = 1
	}
	runtimes := all[first:]

	var t bytes.Buffer
	fmt.Fprintf(&t, "%s, %d runs each, in turn; medians\n\n", load.title, len(samples[0]))
	fmt.Fprintf(&t, "%-14s%8s%8s%8s%11s%8s%8s%9s\n", "", "wall ms", "× runc", "× crun", "CPU ms", "× runc", "× crun", "peak MB")
	for i, m := range all {
		fmt.Fprintf(&t, "%-14s%8.1f%8.2f%8.2f%11.1f%8.2f%8.2f%9.1f\n",
			candidates[i].name,
			m.wall, m.wall/runtimes[runc].wall, m.wall/runtimes[crun].wall,
			m.cpu, m.cpu/runtimes[runc].cpu, m.cpu/runtimes[crun].cpu, m.peak)
	}
	fmt.Fprintln(&t)
	takesPart := len(runtimes) > byHand && candidates[first+byHand].name == staticC.name
	for _, r := range load.reaches {
		if r.against == byHand && !takesPart {
			continue
		}
		ratio, verdict := runtimes[ours].wall/runtimes[r.against].wall, "ok"
		if ratio > r.most {
			verdict = "not ok"
		}
		fmt.Fprintf(&t, "%-7s skiff-oci takes %.2f × %s; the reach is at most %.2f\n",
			verdict, ratio, candidates[first+r.against].name, r.most)
	}
	if load.starts > 0 {
		memory, verdict := runtimes[ours].peak/runtimes[crun].peak, "ok"
		if memory > mostMemory {
			verdict = "not ok"
		}
		fmt.Fprintf(&t, "%-7s its memory is %.2f × crun's; the reach is at most %.2f\n", verdict, memory, mostMemory)
	}
	if takesPart && load.starts > 0 {
		c := runtimes[byHand].wall
		floor := c + all[len(all)-1].wall - all[0].wall
		fmt.Fprintf(&t, "        %s would take %.2f × as long if it started like an empty Go program: %.2f × runc, %.2f × crun; skiff-oci takes %.2f × as long\n",
			staticC.name, floor/c, floor/runtimes[runc].wall, floor/runtimes[crun].wall, runtimes[ours].wall/c)
	}
	fmt.Fprintln(&t)
	_, err := w.Write(t.Bytes())
	return err
}
