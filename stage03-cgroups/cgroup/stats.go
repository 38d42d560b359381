// Statistics: what the group uses, and what happened to it.

package cgroup

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// NoLimit is the value of a limit that is not set.
const NoLimit uint64 = math.MaxUint64

// Stats is what the group, with the groups below it, uses now. A part is nil
// where the machine does not have its controller.
type Stats struct {
	Memory *MemoryStats
	CPU    *CPUStats
	Pids   *PidsStats
}

// MemoryStats counts memory, in bytes.
type MemoryStats struct {
	Current uint64 // v1 memory.usage_in_bytes, v2 memory.current
	Max     uint64 // v1 memory.limit_in_bytes, v2 memory.max; NoLimit
	OOMKill uint64 // processes killed because the limit was reached
}

// CPUStats counts processor time, of all processors together.
type CPUStats struct {
	Usage time.Duration // v1 cpuacct.usage, v2 usage_usec of cpu.stat
}

// PidsStats counts processes and threads.
type PidsStats struct {
	Current uint64 // pids.current
	Max     uint64 // pids.max; NoLimit
}

// Stats reads the statistics.
func (m *Manager) Stats() (*Stats, error) {
	s := &Stats{}
	var err error
	if s.Memory, err = m.memoryStats(); err != nil {
		return nil, err
	}
	if s.CPU, err = m.cpuStats(); err != nil {
		return nil, err
	}
	if s.Pids, err = m.pidsStats(); err != nil {
		return nil, err
	}
	return s, nil
}

func (m *Manager) memoryStats() (*MemoryStats, error) {
	files := [...]string{"memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"}
	dir, v1 := m.v1Dir("memory")
	if !v1 {
		files = [...]string{"memory.current", "memory.max", "memory.events"}
		var ok bool
		if dir, ok = m.v2File(files[0]); !ok {
			return nil, nil
		}
	}
	var s MemoryStats
	var err error
	if s.Current, err = readNumber(dir, files[0]); err != nil {
		return nil, err
	}
	if s.Max, err = readNumber(dir, files[1]); err != nil {
		return nil, err
	}
	// v1 says "no limit" with the greatest number of whole pages.
	if v1 && s.Max >= math.MaxInt64-uint64(unix.Getpagesize()) {
		s.Max = NoLimit
	}
	s.OOMKill, err = readKey(dir, files[2], "oom_kill")
	return &s, err
}

func (m *Manager) cpuStats() (*CPUStats, error) {
	if dir, ok := m.v1Dir("cpuacct"); ok {
		n, err := readNumber(dir, "cpuacct.usage")
		return &CPUStats{time.Duration(n)}, err
	}
	dir, ok := m.v2File("cpu.stat")
	if !ok {
		return nil, nil
	}
	n, err := readKey(dir, "cpu.stat", "usage_usec")
	return &CPUStats{time.Duration(n) * time.Microsecond}, err
}

func (m *Manager) pidsStats() (*PidsStats, error) {
	dir, ok := m.v1Dir("pids")
	if !ok {
		if dir, ok = m.v2File("pids.current"); !ok {
			return nil, nil
		}
	}
	var s PidsStats
	var err error
	if s.Current, err = readNumber(dir, "pids.current"); err != nil {
		return nil, err
	}
	s.Max, err = readNumber(dir, "pids.max")
	return &s, err
}

// v2File returns the group's directory in the v2 hierarchy, if file is there:
// it is when its controller is enabled.
func (m *Manager) v2File(file string) (dir string, ok bool) {
	if m.v2 == nil || !exists(m.v2.dir, file) {
		return "", false
	}
	return m.v2.dir, true
}

// readNumber reads a file that holds one number or "max".
func readNumber(dir, file string) (uint64, error) {
	text, err := read(dir, file)
	if err != nil {
		return 0, err
	}
	n, err := parseLimit(text)
	if err != nil {
		return 0, fmt.Errorf("cgroup: read %q: %w", dir+"/"+file, err)
	}
	return n, nil
}

// readKey reads the number behind name in a file of "name number" lines.
func readKey(dir, file, name string) (uint64, error) {
	text, err := read(dir, file)
	if err != nil {
		return 0, err
	}
	n, ok := key(text, name)
	if !ok {
		return 0, fmt.Errorf("cgroup: read %q: no %q in it", dir+"/"+file, name)
	}
	return n, nil
}
