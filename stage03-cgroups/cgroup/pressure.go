// Pressure: for how long processes stood still because there was too little
// processor, memory or disk for all of them (accounting/psi). It rises before
// anything fails, which no limit and no usage shows. v2 alone has it, for each
// group; a kernel may be built without, or have it off (psi=0).

package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Pressures are the pressures that a kernel measures.
type Pressures struct {
	CPU    *Pressure `json:"cpu,omitempty"`
	Memory *Pressure `json:"memory,omitempty"`
	IO     *Pressure `json:"io,omitempty"`
}

// Pressure is one *.pressure file: Some counts the time in which at least one
// process waited, Full that in which all did, so that nothing was done.
type Pressure struct {
	Some Stall `json:"some"`
	Full Stall `json:"full"`
}

// Stall is one line: the share of the last 10, 60 and 300 seconds, in percent,
// and the whole time since the group was made.
type Stall struct {
	Avg10  float64       `json:"avg10"`
	Avg60  float64       `json:"avg60"`
	Avg300 float64       `json:"avg300"`
	Total  time.Duration `json:"total_nsec"`
}

func (m *Manager) pressureStats(s *Stats) error {
	if m.v2 == nil {
		return nil
	}
	var all Pressures
	for _, f := range []struct {
		file string
		to   **Pressure
	}{{"cpu.pressure", &all.CPU}, {"memory.pressure", &all.Memory}, {"io.pressure", &all.IO}} {
		text, err := readAll(filepath.Join(m.v2.dir, f.file))
		if errNotThere(err) || errors.Is(err, unix.EOPNOTSUPP) { // psi=0, or cgroup.pressure 0
			continue
		}
		if err == nil {
			*f.to, err = parsePressure(text)
		}
		if err != nil {
			return fmt.Errorf("cgroup: read %q: %w", m.v2.dir+"/"+f.file, err)
		}
	}
	if all != (Pressures{}) {
		s.Pressure = &all
	}
	return nil
}

// parsePressure reads "some avg10=0.12 avg60=0.05 avg300=0.00 total=1234567"
// and the same for "full"; total is in microseconds.
func parsePressure(text string) (*Pressure, error) {
	p := &Pressure{}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		stall := map[string]*Stall{"some": &p.Some, "full": &p.Full}[word]
		if stall == nil {
			continue // a line that a later kernel adds
		}
		var total float64 // exact up to 2⁵³ microseconds, 285 years
		fields := map[string]*float64{"avg10": &stall.Avg10, "avg60": &stall.Avg60, "avg300": &stall.Avg300, "total": &total}
		for _, field := range strings.Fields(rest) {
			key, value, _ := strings.Cut(field, "=")
			if fields[key] == nil {
				continue
			}
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			*fields[key] = n
		}
		stall.Total = time.Duration(total) * time.Microsecond
	}
	return p, nil
}
