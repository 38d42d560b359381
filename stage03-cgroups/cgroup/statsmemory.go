// Statistics of memory: what is in use, what of it the kernel could take back
// (file), and how often a limit made itself felt. v2 has memory.current,
// memory.stat and memory.events; v1 memory.usage_in_bytes, memory.stat (where
// "total_" includes the groups below) and memory.oom_control.

package cgroup

// MemoryStats counts memory, in bytes.
type MemoryStats struct {
	Current uint64 `json:"current"`        // v1 usage_in_bytes
	Peak    uint64 `json:"peak,omitempty"` // v1 max_usage_in_bytes; v2 since Linux 5.19
	Max     uint64 `json:"max"`            // v1 limit_in_bytes; NoLimit
	High    uint64 `json:"high"`           // v2 alone; NoLimit
	Low     uint64 `json:"low"`            // v2 alone: what the kernel leaves to the group
	// v1 alone, and NoLimit at first: what it is pushed back to when memory is short.
	SoftLimit uint64 `json:"soft_limit,omitempty"`
	// Swap alone, without memory: v1, which counts both together, is converted.
	SwapCurrent uint64 `json:"swap_current"`
	SwapMax     uint64 `json:"swap_max"` // NoLimit

	Anon   uint64 `json:"anon"`   // v1 total_rss: what programs allocated
	File   uint64 `json:"file"`   // v1 total_cache: pages of files, tmpfs included
	Shmem  uint64 `json:"shmem"`  // of File: tmpfs and shared memory, which have no disk to go to
	Kernel uint64 `json:"kernel"` // v1 kmem.usage_in_bytes; v2 since Linux 5.18
	Sock   uint64 `json:"sock"`   // v1 kmem.tcp.usage_in_bytes

	InactiveFile uint64 `json:"inactive_file"` // of File: what goes first; Current without it is the working set
	PageFaults   uint64 `json:"pgfault"`
	MajorFaults  uint64 `json:"pgmajfault"` // those that had to wait for a disk

	MemoryEvents `json:"events"`

	Raw map[string]uint64 `json:"-"` // memory.stat as it is
}

// MemoryEvents counts what limits did to a group and those below it.
type MemoryEvents struct {
	BelowLow  uint64 `json:"low"`      // v2: reclaimed although below low
	AboveHigh uint64 `json:"high"`     // v2: throttled for being above high
	AtMax     uint64 `json:"max"`      // v1 failcnt and memsw.failcnt: about to go over the limit
	OOM       uint64 `json:"oom"`      // v2: reclaim could free nothing at the limit
	OOMKill   uint64 `json:"oom_kill"` // processes killed for it
	GroupKill uint64 `json:"oom_group_kill"`
}

func (m *Manager) memoryStats(s *Stats) error {
	dir, ok := m.place("memory", "memory.current")
	if !ok {
		return nil
	}
	text, err := read(dir, "memory.stat")
	if err != nil {
		return err
	}
	s.Memory = &MemoryStats{Raw: numbers(text)}
	if _, v1 := m.v1Dir("memory"); v1 {
		s.Memory.High, s.Memory.SwapMax = NoLimit, NoLimit
		return s.Memory.readV1(dir)
	}
	return s.Memory.readV2(dir)
}

func (s *MemoryStats) readV1(dir string) error {
	var both, bothMax uint64
	if err := readFiles(dir,
		from{"memory.usage_in_bytes", "", &s.Current, false},
		from{"memory.max_usage_in_bytes", "", &s.Peak, false},
		from{"memory.limit_in_bytes", "", &s.Max, false},
		from{"memory.soft_limit_in_bytes", "", &s.SoftLimit, true}, // not with real-time kernels
		from{"memory.memsw.limit_in_bytes", "", &bothMax, true},
		from{"memory.memsw.usage_in_bytes", "", &both, true},
		from{"memory.kmem.usage_in_bytes", "", &s.Kernel, true},
		from{"memory.kmem.tcp.usage_in_bytes", "", &s.Sock, true},
		from{"memory.stat", "total_rss", &s.Anon, false},
		from{"memory.stat", "total_cache", &s.File, false},
		from{"memory.stat", "total_shmem", &s.Shmem, true},
		from{"memory.stat", "total_swap", &s.SwapCurrent, true},
		from{"memory.stat", "total_inactive_file", &s.InactiveFile, true},
		from{"memory.stat", "total_pgfault", &s.PageFaults, true},
		from{"memory.stat", "total_pgmajfault", &s.MajorFaults, true}); err != nil {
		return err
	}
	s.Max, s.SoftLimit = v1Limit(s.Max), v1Limit(s.SoftLimit)
	if bothMax = v1Limit(bothMax); bothMax != NoLimit && bothMax >= s.Max {
		s.SwapMax = bothMax - s.Max
	}
	var err error
	s.MemoryEvents, err = readMemoryEventsV1(dir)
	return err
}

func (s *MemoryStats) readV2(dir string) error {
	if err := readFiles(dir,
		from{"memory.current", "", &s.Current, false},
		from{"memory.peak", "", &s.Peak, true},
		from{"memory.max", "", &s.Max, false},
		from{"memory.high", "", &s.High, false},
		from{"memory.low", "", &s.Low, false},
		from{"memory.swap.current", "", &s.SwapCurrent, true}, // not without swap in the kernel
		from{"memory.swap.max", "", &s.SwapMax, true},
		from{"memory.stat", "anon", &s.Anon, false},
		from{"memory.stat", "file", &s.File, false},
		from{"memory.stat", "shmem", &s.Shmem, true},
		from{"memory.stat", "kernel", &s.Kernel, true},
		from{"memory.stat", "sock", &s.Sock, true},
		from{"memory.stat", "inactive_file", &s.InactiveFile, true},
		from{"memory.stat", "pgfault", &s.PageFaults, true},
		from{"memory.stat", "pgmajfault", &s.MajorFaults, true}); err != nil {
		return err
	}
	var err error
	s.MemoryEvents, err = readMemoryEventsV2(dir)
	return err
}

// readMemoryEventsV1: v1 counts the kills, and how often the limit was met, of
// memory or of memory and swap (since 6.13 the latter stays 0). How often the
// kernel found nothing to free it tells only by an eventfd.
func readMemoryEventsV1(dir string) (MemoryEvents, error) {
	var e MemoryEvents
	var both uint64
	err := readFiles(dir,
		from{"memory.failcnt", "", &e.AtMax, false},
		from{"memory.memsw.failcnt", "", &both, true},
		from{"memory.oom_control", "oom_kill", &e.OOMKill, true})
	e.AtMax += both
	return e, err
}

func readMemoryEventsV2(dir string) (MemoryEvents, error) {
	var e MemoryEvents
	err := readFiles(dir,
		from{"memory.events", "low", &e.BelowLow, false},
		from{"memory.events", "high", &e.AboveHigh, false},
		from{"memory.events", "max", &e.AtMax, false},
		from{"memory.events", "oom", &e.OOM, false},
		from{"memory.events", "oom_kill", &e.OOMKill, false},
		from{"memory.events", "oom_group_kill", &e.GroupKill, true})
	return e, err
}
