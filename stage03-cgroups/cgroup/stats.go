// Statistics: what the group, with the groups below it, uses now, and what
// happened to it. The kernel keeps the numbers in files, one for each kind; this
// file says what there is and reads those of pids, hugetlb, rdma and misc, which
// are a number or a table of numbers. The others have a file each:
// statscpu.go, statsmemory.go, statsio.go, pressure.go.
//
// Names are those of cgroup v2 (admin-guide/cgroup-v2); for v1 the comments say
// which file stands for them.

package cgroup

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// NoLimit is the value of a limit that is not set.
const NoLimit uint64 = math.MaxUint64

// Stats is what the group, with the groups below it, uses now. A part is nil
// where the machine, or this group, does not have its controller.
type Stats struct {
	CPU      *CPUStats               `json:"cpu,omitempty"`
	Memory   *MemoryStats            `json:"memory,omitempty"`
	Pids     *PidsStats              `json:"pids,omitempty"`
	IO       []IOStats               `json:"io,omitempty"`       // one for each device that was used
	Hugetlb  map[string]HugetlbStats `json:"hugetlb,omitempty"`  // by page size: "2MB"
	Rdma     map[string]RdmaStats    `json:"rdma,omitempty"`     // by adapter, those in use
	Misc     map[string]uint64       `json:"misc,omitempty"`     // by resource, those that the machine has
	Pressure *Pressures              `json:"pressure,omitempty"` // v2 alone
}

// PidsStats counts processes and threads; the files are the same in both
// versions.
type PidsStats struct {
	Current uint64 `json:"current"`        // pids.current
	Max     uint64 `json:"max"`            // pids.max; NoLimit
	Peak    uint64 `json:"peak,omitempty"` // pids.peak, since Linux 6.1
	Refused uint64 `json:"events_max"`     // pids.events max: forks that failed for a limit here or below
}

// HugetlbStats counts huge pages of one size, in bytes.
type HugetlbStats struct {
	Current     uint64 `json:"current"`      // v1 usage_in_bytes
	Max         uint64 `json:"max"`          // v1 limit_in_bytes; NoLimit
	RsvdCurrent uint64 `json:"rsvd_current"` // reserved by mmap(2), used or not
	RsvdMax     uint64 `json:"rsvd_max"`
	Failed      uint64 `json:"events_max"` // v1 failcnt
}

// RdmaStats counts what one InfiniBand adapter has handed out.
type RdmaStats struct {
	Handles uint64 `json:"hca_handle"`
	Objects uint64 `json:"hca_object"`
}

// Stats reads the statistics. They are read one file after another while the
// processes go on, so two of them may not fit together to the last unit.
func (m *Manager) Stats() (*Stats, error) {
	s := &Stats{}
	if m.v2 != nil && !exists(m.v2.dir, "cgroup.procs") { // else all parts would just be absent
		return nil, fmt.Errorf("cgroup: statistics of %q: %w", m.v2.dir, unix.ENOENT)
	}
	for _, part := range []func(*Stats) error{
		m.cpuStats, m.memoryStats, m.pidsStats, m.ioStats, m.hugetlbStats, m.rdmaStats, m.miscStats, m.pressureStats,
	} {
		if err := part(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (m *Manager) pidsStats(s *Stats) error {
	dir, ok := m.place("pids", "pids.current")
	if !ok {
		return nil
	}
	s.Pids = &PidsStats{}
	return readFiles(dir,
		from{"pids.current", "", &s.Pids.Current, false},
		from{"pids.max", "", &s.Pids.Max, false},
		from{"pids.peak", "", &s.Pids.Peak, true},
		from{"pids.events", "max", &s.Pids.Refused, true})
}

func (m *Manager) hugetlbStats(s *Stats) error {
	current, limit := "current", "max"
	dir, v1 := m.v1Dir("hugetlb")
	if v1 {
		current, limit = "usage_in_bytes", "limit_in_bytes"
	} else if m.v2 == nil {
		return nil
	} else {
		dir = m.v2.dir
	}
	for _, size := range pageSizes(dir) {
		var h HugetlbStats
		name := "hugetlb." + size + "."
		files := []from{
			{name + current, "", &h.Current, false},
			{name + limit, "", &h.Max, false},
			{name + "rsvd." + current, "", &h.RsvdCurrent, true},
			{name + "rsvd." + limit, "", &h.RsvdMax, true},
			{name + "events", "max", &h.Failed, true},
			{name + "failcnt", "", &h.Failed, true},
		}
		if err := readFiles(dir, files...); err != nil {
			return err
		}
		h.Max, h.RsvdMax = v1Limit(h.Max), v1Limit(h.RsvdMax) // of either version: newer kernels say it in v2 as well
		if s.Hugetlb == nil {
			s.Hugetlb = make(map[string]HugetlbStats)
		}
		s.Hugetlb[size] = h
	}
	return nil
}

// rdmaStats reads lines like "mlx5_0 hca_handle=2 hca_object=20".
func (m *Manager) rdmaStats(s *Stats) error {
	dir, ok := m.place("rdma", "rdma.current")
	if !ok {
		return nil
	}
	text, err := read(dir, "rdma.current")
	for line := range strings.Lines(text) {
		name, pairs := pairs(line)
		if s.Rdma == nil {
			s.Rdma = make(map[string]RdmaStats)
		}
		s.Rdma[name] = RdmaStats{Handles: pairs["hca_handle"], Objects: pairs["hca_object"]}
	}
	return err
}

// miscStats reads lines like "sev 3".
func (m *Manager) miscStats(s *Stats) error {
	dir, ok := m.place("misc", "misc.current")
	if !ok {
		return nil
	}
	text, err := read(dir, "misc.current")
	if numbers := numbers(text); len(numbers) > 0 {
		s.Misc = numbers
	}
	return err
}

// place returns the group's directory in the hierarchy that has the
// controller; a v2 group has it if the file is there.
func (m *Manager) place(controller, file string) (dir string, ok bool) {
	if dir, ok := m.v1Dir(controller); ok {
		return dir, true
	}
	if m.v2 == nil || !exists(m.v2.dir, file) {
		return "", false
	}
	return m.v2.dir, true
}

// from says where a number stands: in a file alone, or behind a key.
type from struct {
	file, key string
	to        *uint64
	optional  bool // not on every kernel, or not in every group
}

// readFiles reads numbers; a file is read once for all keys that follow each
// other. What is optional and not there stays as it is.
func readFiles(dir string, all ...from) error {
	var last, text string
	for _, f := range all {
		if f.file != last {
			var err error
			if text, err = readAll(filepath.Join(dir, f.file)); err != nil {
				if f.optional && errNotThere(err) {
					last = ""
					continue
				}
				return fmt.Errorf("cgroup: read %q: %w", dir+"/"+f.file, err)
			}
			last = f.file
		}
		if err := f.take(dir, text); err != nil {
			return err
		}
	}
	return nil
}

// take finds the number in the text of its file.
func (f from) take(dir, text string) error {
	if f.key != "" {
		n, ok := numbers(text)[f.key]
		if !ok && !f.optional {
			return fmt.Errorf("cgroup: read %q: no %q in it", dir+"/"+f.file, f.key)
		}
		if ok {
			*f.to = n
		}
		return nil
	}
	n, err := parseLimit(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("cgroup: read %q: %w", dir+"/"+f.file, err)
	}
	*f.to = n
	return nil
}

// readNumber reads a file that holds one number or "max".
func readNumber(dir, file string) (uint64, error) {
	var n uint64
	err := readFiles(dir, from{file, "", &n, false})
	return n, err
}

// v1Limit: v1 says "no limit" with the greatest number of whole pages that it
// can count, and the pages of hugetlb may be as large as 16 GiB.
func v1Limit(n uint64) uint64 {
	const largestPage = 16 << 30
	if n >= math.MaxInt64-largestPage {
		return NoLimit
	}
	return n
}

// numbers returns all "name number" lines of a text.
func numbers(text string) map[string]uint64 {
	all := make(map[string]uint64)
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				all[f[0]] = n
			}
		}
	}
	return all
}

// pairs splits a line "name key=number key=number ...". A value that is no
// number is left out.
func pairs(line string) (name string, values map[string]uint64) {
	values = make(map[string]uint64)
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return "", values
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			values[key] = n
		}
	}
	return fields[0], values
}
