package namespace

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage01-chroot/plan"
)

// The clocks of a new time namespace: /proc/PID/timens_offsets of
// time_namespaces(7), linux.timeOffsets of runtime-spec config-linux.md. Two
// clocks can be set off, the monotonic and the boot clock; the date cannot.

// maxSeconds is KTIME_SEC_MAX, the greatest number of seconds in a time of
// the kernel, which is 2^63-1 nanoseconds: 292 years.
const maxSeconds = (1<<63 - 1) / 1_000_000_000

// offsetsFile is the register for the file that takes the offsets.
const offsetsFile = "timens_offsets"

// SetTimeOffsets sets how far the clocks of the set's new time namespace are
// ahead of those of the initial one, or behind: clock ("monotonic",
// "boottime") → seconds, from -292 to 292 years, and nanoseconds, 0 to
// 999999999. Without a new time namespace offsets are an error: in one that
// processes have entered they are fixed (EACCES).
//
// Whether the clock would then be before 0, or after 146 years, only the
// kernel can say, when the step is done: ERANGE.
func (s *Set) SetTimeOffsets(offsets map[string]specs.LinuxTimeOffset) error {
	if len(offsets) == 0 {
		return nil
	}
	if !s.New(unix.CLONE_NEWTIME) {
		return hint.Add(errors.New("time offsets need a new time namespace"),
			"offsets of a time namespace are fixed once a process is in it")
	}
	var text strings.Builder
	for _, clock := range slices.Sorted(maps.Keys(offsets)) {
		o := offsets[clock]
		switch {
		case clock != "monotonic" && clock != "boottime":
			return fmt.Errorf("time offset of clock %q: the clocks are monotonic and boottime", clock)
		case o.Secs > maxSeconds || o.Secs < -maxSeconds:
			return fmt.Errorf("time offset of clock %q: %d seconds are not between -%d and %d", clock, o.Secs, maxSeconds, maxSeconds)
		case o.Nanosecs >= 1_000_000_000:
			return fmt.Errorf("time offset of clock %q: %d nanoseconds are a second or more", clock, o.Nanosecs)
		}
		fmt.Fprintf(&text, "%s %d %d\n", clock, o.Secs, o.Nanosecs)
	}
	s.offsets = text.String()
	return nil
}

// openOffsets adds the step that opens the file for the offsets. It is the
// first of all: the file is the process's own, and so is the right to write
// it, which setresuid(2) may take (proc(5), "dumpable"), and in a joined mount
// namespace there may be no /proc. What the opener may do counts, also after
// the process has entered another user namespace.
func (s *Set) openOffsets(p *plan.Plan) {
	if s.offsets == "" {
		return
	}
	how := unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CLOEXEC}
	p.Add(plan.Openat2(plan.CWD, "/proc/self/timens_offsets", how).Into(p.Register(offsetsFile)).
		Hint(unix.ENOENT, "this kernel has no time namespaces, or /proc is not mounted"))
}

// writeOffsets adds the steps that set the clocks, between unshare(2), which
// makes the namespace, and the clone(2) that enters it.
func (s *Set) writeOffsets(p *plan.Plan) {
	if s.offsets == "" {
		return
	}
	file := p.Register(offsetsFile)
	p.Add(
		plan.Write(file, s.offsets).Doing("set time offsets %q", strings.TrimSpace(s.offsets)).
			Hint(unix.ERANGE, "with its offset a clock must be neither before 0 nor after 146 years; see /proc/uptime").
			Hint(unix.EPERM, "time offsets need CAP_SYS_TIME in the user namespace that owns the time namespace"),
		plan.Close(file),
	)
}
