// Statistics of block devices: io.stat of v2, one line for each device; in v1
// the counters of the throttling policy, one line for each device and kind of
// access (admin-guide/cgroup-v1/blkio-controller). The _recursive files, and
// io.stat, include the groups below.

package cgroup

import (
	"slices"
	"strconv"
	"strings"
)

// IOStats counts the bytes and operations on one device.
type IOStats struct {
	Device string `json:"device"` // "8:0"
	RBytes uint64 `json:"rbytes"`
	WBytes uint64 `json:"wbytes"`
	DBytes uint64 `json:"dbytes"` // discarded: TRIM
	RIOs   uint64 `json:"rios"`
	WIOs   uint64 `json:"wios"`
	DIOs   uint64 `json:"dios"`
}

func (m *Manager) ioStats(s *Stats) error {
	if dir, ok := m.v1Dir("blkio"); ok {
		return s.readBlkio(dir)
	}
	dir, ok := m.place("io", "io.stat")
	if !ok {
		return nil
	}
	text, err := read(dir, "io.stat")
	for line := range strings.Lines(text) {
		device, n := pairs(line)
		if len(n) == 0 { // a device that another policy knows
			continue
		}
		s.IO = append(s.IO, IOStats{device, n["rbytes"], n["wbytes"], n["dbytes"], n["rios"], n["wios"], n["dios"]})
	}
	return err
}

// readBlkio reads lines like "8:0 Read 4096". The last, "Total 4096", has no
// device.
func (s *Stats) readBlkio(dir string) error {
	for _, file := range []struct {
		name    string
		counter func(d *IOStats, kind string) *uint64
	}{{"blkio.throttle.io_service_bytes_recursive", (*IOStats).bytes}, {"blkio.throttle.io_serviced_recursive", (*IOStats).operations}} {
		text, err := read(dir, file.name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			n, err := strconv.ParseUint(f[2], 10, 64)
			to := file.counter(s.device(f[0]), f[1])
			if err == nil && to != nil {
				*to = n
			}
		}
	}
	return nil
}

// device returns the device's entry, a new one if need be.
func (s *Stats) device(name string) *IOStats {
	i := slices.IndexFunc(s.IO, func(d IOStats) bool { return d.Device == name })
	if i < 0 {
		i = len(s.IO)
		s.IO = append(s.IO, IOStats{Device: name})
	}
	return &s.IO[i]
}

// bytes is the counter for v1's word; the words for sums have none.
func (d *IOStats) bytes(kind string) *uint64 {
	return map[string]*uint64{"Read": &d.RBytes, "Write": &d.WBytes, "Discard": &d.DBytes}[kind]
}

func (d *IOStats) operations(kind string) *uint64 {
	return map[string]*uint64{"Read": &d.RIOs, "Write": &d.WIOs, "Discard": &d.DIOs}[kind]
}
