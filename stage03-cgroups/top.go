package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"skiff.example/stage03-cgroups/cgroup"
	"skiff.example/stage03-cgroups/state"
)

// top shows what containers use, as top(1) does for processes: a line for each,
// with what it may use at most where it has a limit.

// sample is what a container's group says at a moment.
type sample struct {
	at     time.Time
	stats  *cgroup.Stats
	frozen bool
}

// Between two samples lies a second; the first is followed by another soon,
// because the use of processors is known only from two.
const (
	interval = time.Second
	atFirst  = 200 * time.Millisecond
)

func topCommand(c *cli.Context, words []string) error {
	if err := notRoot("top"); err != nil {
		return err
	}
	for _, name := range words {
		if _, err := find(c, name); err != nil {
			return err
		}
	}
	stateDir, err := filepath.Abs(c.String("state"))
	if err != nil {
		return err
	}
	before, err := samples(stateDir, words)
	if err != nil {
		return err
	}
	for wait := atFirst; sleep(c.Context, wait); wait = interval {
		now, err := samples(stateDir, words)
		if err != nil {
			return err
		}
		if err := draw(c.App.Writer, before, now); err != nil || c.Bool("once") {
			return err
		}
		before = now
	}
	return nil // Ctrl-C is how one stops looking
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
		found[name] = sample{time.Now(), stats, group.Frozen()}
	}
	return found, nil
}

// clearScreen takes a terminal's cursor home and empties the screen: console_codes(4).
const clearScreen = "\033[H\033[J"

// draw prints the table. On a terminal each one covers the last.
func draw(w io.Writer, before, now map[string]sample) error {
	if file, ok := w.(*os.File); ok && isTerminal(file) {
		if _, err := io.WriteString(w, clearScreen); err != nil {
			return err
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tSTATE\tPIDS\tCPU\tMEMORY\tREAD\tWRITTEN\tOOM KILLS")
	for _, name := range sorted(now) {
		s := now[name]
		fmt.Fprintln(table, name+s.line(before[name]))
	}
	return table.Flush() // which also says what could not be written before
}

// line is what a container uses. "-" is what this machine does not count.
func (s sample) line(before sample) string {
	state, pids, cpu, memory, kills := "running", "-", "-", "-", "-"
	if s.frozen {
		state = "frozen"
	}
	if p := s.stats.Pids; p != nil {
		pids = fmt.Sprintf("%d/%s", p.Current, number(p.Max))
		if p.Current == 0 {
			state = "ended"
		}
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
	return fmt.Sprintf("\t%s\t%s\t%s\t%s\t%s\t%s\t%s", state, pids, cpu, memory, size(read), size(written), kills)
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
