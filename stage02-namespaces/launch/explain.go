package launch

import (
	"fmt"
	"io"
	"time"
)

// How long each step took, for people to read: clock_gettime(2) after each call,
// in the page that parent and child share.

// Explain prints what a process did, a step a line, with how long each took
// and under the plan's headings.
func Explain(w io.Writer, times []Timing) {
	section, total := "", time.Duration(0)
	for _, t := range times {
		if t.Step.Section != section {
			section = t.Step.Section
			fmt.Fprintf(w, "\n# %s (chapter %d)\n", section, t.Step.Chapter)
		}
		fmt.Fprintf(w, "%9.1f µs  %s\n", float64(t.Took.Nanoseconds())/1000, t.Step)
		total += t.Took
	}
	fmt.Fprintf(w, "\n%9.1f µs  in %d steps, the waiting included\n", float64(total.Nanoseconds())/1000, len(times))
}
