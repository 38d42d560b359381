// top shows what containers use, as top(1) does for processes: a line for each,
// with what it may use at most where it has a limit.

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// sample is what a container's group says at a moment.
type sample struct {
	at     time.Time
	stats  *cgroup.Stats
	frozen bool
	empty  bool // no process is in it: pids.current counts the dead until they are waited for
}

// Between two samples lies a second; the first is followed by another soon,
// because the use of processors is known only from two.
const (
	interval = time.Second
	atFirst  = 200 * time.Millisecond
)

func topCommand(c *cli.Context, words []string) error {
	if err := needRoot(c); err != nil {
		return err
	}
	for _, name := range words {
		if _, err := find(c, name); err != nil {
			return err
		}
	}
	dir, err := stateDir(c)
	if err != nil {
		return err
	}
	before, err := samples(dir, words)
	if err != nil {
		return err
	}
	for wait := atFirst; sleep(c.Context, wait); wait = interval {
		now, err := samples(dir, words)
		if err != nil {
			return err
		}
		if wait == atFirst && !knows(before, now) { // one has just begun: look at it twice as well
			before = now
			if !sleep(c.Context, atFirst) {
				break
			}
			if now, err = samples(dir, words); err != nil {
				return err
			}
		}
		if c.Bool("once") {
			return draw(c.App.Writer, before, now)
		}
		if err := redraw(c.App.Writer, before, now); err != nil {
			return err
		}
		before = now
	}
	return nil // Ctrl-C is how one stops looking
}

// knows tells whether all containers of now were there before.
func knows(before, now map[string]sample) bool {
	for name := range now {
		if _, there := before[name]; !there {
			return false
		}
	}
	return true
}

// sleep waits, and tells whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// samples looks at the containers called names, or at all. Those that have just
// ended are left out.
func samples(stateDir string, names []string) (map[string]sample, error) {
	all, err := state.Names(stateDir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]sample)
	for _, name := range all {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		group, err := groupOf(stateDir, name)
		if err != nil {
			return nil, err
		}
		stats, err := group.Stats()
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		at := time.Now()
		pids, err := group.Processes()
		if err != nil {
			return nil, err
		}
		found[name] = sample{at, stats, group.Frozen(), len(pids) == 0}
	}
	return found, nil
}

// clearScreen takes a terminal's cursor home and empties the screen: console_codes(4).
const clearScreen = "\033[H\033[J"

// redraw draws; on a terminal it covers what was drawn before.
func redraw(w io.Writer, before, now map[string]sample) error {
	if file, ok := w.(*os.File); ok && isTerminal(file) {
		if _, err := io.WriteString(w, clearScreen); err != nil {
			return err
		}
	}
	return draw(w, before, now)
}

// draw prints the table.
func draw(w io.Writer, before, now map[string]sample) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tPIDS\tCPU\tMEMORY\tREAD\tWRITTEN\tOOM KILLS")
	for _, name := range sorted(now) {
		s := now[name]
		fmt.Fprintln(table, name+s.line(before[name]))
	}
	return table.Flush() // which also says what could not be written before
}

// line is what a container uses. "-" is what this machine does not count, or what
// takes two looks to count.
func (s sample) line(before sample) string {
	doing, pids, cpu, memory, kills := "running", "-", "-", "-", "-"
	switch {
	case s.empty:
		doing = "ended"
	case s.frozen:
		doing = "frozen"
	}
	if p := s.stats.Pids; p != nil {
		pids = fmt.Sprintf("%d/%s", p.Current, number(p.Max))
	}
	if s.stats.CPU != nil && before.stats != nil && before.stats.CPU != nil {
		used := s.stats.CPU.Usage - before.stats.CPU.Usage
		cpu = fmt.Sprintf("%.0f%%", 100*used.Seconds()/s.at.Sub(before.at).Seconds())
	}
	if m := s.stats.Memory; m != nil {
		memory = size(m.Current) + "/" + size(m.Max)
		kills = fmt.Sprint(m.OOMKill)
	}
	var read, written uint64
	for _, device := range s.stats.IO {
		read, written = read+device.RBytes, written+device.WBytes
	}
	return fmt.Sprintf("\t%s\t%s\t%s\t%s\t%s\t%s\t%s", doing, pids, cpu, memory, size(read), size(written), kills)
}

// size is a number of bytes for people, as df(1) has it.
func size(n uint64) string {
	if n == cgroup.NoLimit {
		return unlimited
	}
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	value, unit := float64(n), -1
	for ; value >= 1024 && unit < 4; unit++ {
		value /= 1024
	}
	return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64) + "KMGTP"[unit:unit+1]
}

// number is a limit that is no size.
func number(n uint64) string {
	if n == cgroup.NoLimit {
		return unlimited
	}
	return fmt.Sprint(n)
}

// isTerminal tells whether a file is one: ioctl_tty(2).
func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// sorted are the keys of a table.
func sorted[V any](table map[string]V) []string { return slices.Sorted(maps.Keys(table)) }
